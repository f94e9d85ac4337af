"""The TLS files of the settings: what is wrong with one, by the setting that names it and its path."""

from __future__ import annotations

import ssl
from pathlib import Path

from dicom_pipeline.config.peers import AnyPeer, FolderPeer

CERTIFICATE, KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"


def tls_files_problem(where: str, *, certificate: Path | None, key: Path | None, authorities: Path | None) -> str:
    """What is wrong with the first of these files that cannot be used, "" where all can, as far as no peer is needed.

    where: what stands before `certificate`, `key` and `ca` in the names of the settings, such as "listener.tls_".
    """
    for name, path, block in (
        ("ca", authorities, CERTIFICATE),
        ("certificate", certificate, CERTIFICATE),
        ("key", key, KEY),
    ):
        if path is not None and (problem := _file_problem(path, block)):
            return f"{where}{name} {problem}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except OSError as error:
            return f"{where}ca = {authorities}: its certificates cannot be used ({_reason(error)})"
    if certificate is not None and key is not None:
        try:
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except OSError as error:
            reason = _reason(error)
            what = (
                "the key does not belong to the certificate"
                if reason == "KEY_VALUES_MISMATCH"
                else f"unusable ({reason})"
            )
            return f"{where}certificate = {certificate} and {where}key = {key}: {what}"
    return ""


def peer_tls_problem(peer: AnyPeer) -> str:
    """As tls_files_problem, for a peer of the settings."""
    if isinstance(peer, FolderPeer):
        return ""
    return tls_files_problem(
        f"peers.{peer.name}.tls_",
        certificate=getattr(peer, "tls_certificate", None),
        key=getattr(peer, "tls_key", None),
        authorities=peer.tls_ca,
    )


def _file_problem(path: Path, block: bytes) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"= {path}: {error.strerror or type(error).__name__}"
    return "" if block in content else f"= {path}: expected a PEM file with {block.decode().strip('-')}"


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
