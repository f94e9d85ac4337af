"""DICOM TLS (PS3.15 B.9, B.12; BCP 195): one context, made again when a certificate file has changed."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import ConfigError

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 with forward secrecy and authenticated encryption only (BCP 195 4.2); TLS 1.3 has no others."""


class TlsSource:
    """The current server context. Changed files are taken up with the next connection; broken ones are not."""

    def __init__(self, settings: ListenerSection) -> None:
        self._settings = settings
        self._files = [p for p in (settings.tls_certificate, settings.tls_key, settings.tls_ca) if p is not None]
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._context = tls_context(settings)

    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        with self._lock:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._context = tls_context(self._settings)
                    log.info("TLS certificates were read again")
                except (ConfigError, OSError) as error:
                    log.error("changed TLS certificates cannot be used, the earlier ones stay: %s", error)
            return self._context

    def _stamps(self) -> list[tuple[int, int]]:
        return [_stamp(path) for path in self._files]


def tls_context(settings: ListenerSection) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate; peers must show one of tls_ca's where that is set.

    Raises ConfigError where files are missing or do not fit one another.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        raise ConfigError("DICOM TLS needs listener.tls_certificate and listener.tls_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(settings.tls_ca)
    except (ssl.SSLError, OSError) as error:
        words = getattr(error, "reason", None) or getattr(error, "strerror", "") or type(error).__name__
        raise ConfigError(
            f"the listener's TLS files cannot be used ({words}): expected PEM files, and a key that belongs to the certificate"
        ) from error
    return context


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino
