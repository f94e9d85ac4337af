"""The DICOM listener: C-STORE and C-ECHO as SCP. Success only when the bytes are on disk and in the catalog.

Statuses: PS3.4 table B.2-1 (C-STORE), PS3.7 annex C. Bytes are stored as they came; nothing is coerced.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import time
import uuid
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import (
    Arrival,
    Received,
    close_association,
    open_association,
    record_instance,
    record_refusal,
)
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError, ConfigError
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.planning.headers import is_valid_uid
from dicom_pipeline.reporting import is_own_object

log = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

REFUSED_SYNTAXES = ("MPEG", "HEVC", "JPIP", "SMPTE", "RFC 2557", "XML")
"""Transfer syntaxes of video and references, which no pixel decoder here reads."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How to listen; the fields are those of config.ListenerSection. min_free_bytes: the disk's watermark."""

    ae_title: str = "DICOMPIPE"
    host: str = "127.0.0.1"
    port: int = 11112
    allow_remote: bool = False
    require_called_ae: bool = True
    calling_ae_titles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    max_associations: int = 50
    max_pdu_bytes: int = 131072
    max_object_bytes: int = 4 * 1024**3
    network_timeout_seconds: float = 60.0
    min_free_bytes: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None


class _RefusedError(Exception):
    """Ends the handling of one C-STORE with a status and a reason code."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Listener:
    """A listening DICOM node over a spool and a catalog. owner: the run of the service that it belongs to."""

    def __init__(self, settings: ListenerSettings, catalog: Catalog, spool: Spool, owner: str) -> None:
        check_address(settings)
        self.settings = settings
        self.catalog = catalog
        self.spool = spool
        self.owner = owner
        self._networks = [ipaddress.ip_network(network) for network in settings.networks]
        self._server: Any = None

    def start(self) -> None:
        """Listen in threads of this process. Raises OSError where the port is taken."""
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
        ]
        address = (self.settings.host, self.settings.port)
        context = tls_context(self.settings) if self.settings.tls_certificate else None
        self._server = self._entity().start_server(address, block=False, evt_handlers=handlers, ssl_context=context)
        log.info("listening as %s on %s:%d", self.settings.ae_title, *address)

    def stop(self) -> None:
        """Stop listening and end the open associations."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _entity(self) -> Any:
        entity = AE(ae_title=self.settings.ae_title)
        entity.maximum_associations = self.settings.max_associations
        entity.maximum_pdu_size = self.settings.max_pdu_bytes
        entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = self.settings.network_timeout_seconds
        entity.require_called_aet = self.settings.require_called_ae
        entity.require_calling_aet = list(self.settings.calling_ae_titles)
        entity.add_supported_context(Verification)
        syntaxes = supported_transfer_syntaxes()
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), syntaxes)
        return entity

    def _requested(self, event: Any) -> None:
        peer = ipaddress.ip_address(event.assoc.requestor.address)
        if self._networks and not any(peer in network for network in self._networks):
            log.warning("association from a network that is not admitted: aborted")
            event.assoc.abort()

    def _established(self, event: Any) -> None:
        event.assoc.spool_token = uuid.uuid4().hex
        open_association(self.catalog, event.assoc.spool_token, self.owner, time.time())

    def _closed(self, event: Any) -> None:
        token = getattr(event.assoc, "spool_token", None)
        if token is not None:
            close_association(self.catalog, token)
        self.catalog.close()

    def _store(self, event: Any) -> int:
        """C-STORE: the status that fits; every refusal is written down with its reason."""
        uid = str(event.request.AffectedSOPInstanceUID or "")
        try:
            arrival = self._receive(event, uid)
        except _RefusedError as refused:
            self._refuse(event, uid, refused.status, refused.reason)
            return refused.status
        except OSError as error:
            log.error("cannot write %s: %s", short_uid(uid), error.strerror)
            self._refuse(event, uid, OUT_OF_RESOURCES, "disk-error")
            return OUT_OF_RESOURCES
        except CatalogError as error:
            log.error("cannot enter %s: %s", short_uid(uid), error)
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - the edge of an association: hostile input must not end it unanswered
            log.error("cannot understand %s: %s", short_uid(uid), type(error).__name__)
            self._refuse(event, uid, CANNOT_UNDERSTAND, "unreadable")
            return CANNOT_UNDERSTAND
        if arrival is not Arrival.NEW:
            log.info("%s is a %s", short_uid(uid), arrival.value)
        return SUCCESS

    def _receive(self, event: Any, uid: str) -> Arrival:
        encoded: bytes = event.request.DataSet.getvalue()
        if len(encoded) > self.settings.max_object_bytes:
            raise _RefusedError(OUT_OF_RESOURCES, "too-large")
        if self.spool.free_bytes() < self.settings.min_free_bytes + len(encoded):
            raise _RefusedError(OUT_OF_RESOURCES, "disk-full")
        whole = event.encoded_dataset()
        header = whole[: len(whole) - len(encoded)]
        dataset = _identity(whole)
        if str(dataset.get("SOPInstanceUID", "")) != uid or not is_valid_uid(uid):
            raise _RefusedError(DATA_SET_DOES_NOT_MATCH, "sop-instance-mismatch")
        if str(dataset.get("SOPClassUID", "")) != str(event.request.AffectedSOPClassUID):
            raise _RefusedError(DATA_SET_DOES_NOT_MATCH, "sop-class-mismatch")
        study, series = (str(dataset.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
        if not (is_valid_uid(study) and is_valid_uid(series)):
            raise _RefusedError(DATA_SET_DOES_NOT_MATCH, "missing-uid")
        if is_own_object(dataset):
            raise _RefusedError(SUCCESS, "own-object")
        token = event.assoc.spool_token
        stored = self.spool.store(uid, header, encoded, token)
        received = Received(
            sop_instance_uid=uid,
            sha256=stored.sha256,
            study_instance_uid=study,
            series_instance_uid=series,
            sop_class_uid=str(dataset.SOPClassUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            path=stored.path,
            bytes=stored.bytes,
            calling_ae=str(event.assoc.requestor.ae_title),
            address=str(event.assoc.requestor.address),
            token=token,
            at=time.time(),
        )
        return record_instance(self.catalog, received)

    def _refuse(self, event: Any, uid: str, status: int, reason: str) -> None:
        log.warning("%s answered 0x%04X: %s", short_uid(uid), status, reason)
        try:
            record_refusal(
                self.catalog,
                at=time.time(),
                status=status,
                reason=reason,
                sop_instance_uid=uid[:64],
                calling_ae=str(event.assoc.requestor.ae_title),
                address=str(event.assoc.requestor.address),
            )
        except CatalogError as error:
            log.error("cannot write down a refusal: %s", error)


def _identity(whole: bytes) -> Dataset:
    """The elements that an instance is known by. Raises _RefusedError where the bytes are no data set."""
    wanted = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "ContributingEquipmentSequence"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom would quote what it finds odd
            dataset = dcmread(BytesIO(whole), stop_before_pixels=True, specific_tags=wanted)
            return Dataset({element.tag: element for element in dataset})
    except (
        InvalidDicomError,
        BytesLengthException,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        NotImplementedError,
        OSError,
        RecursionError,
    ) as error:
        raise _RefusedError(CANNOT_UNDERSTAND, "unreadable") from error


def supported_transfer_syntaxes() -> list[str]:
    """The transfer syntaxes that are accepted: all of PS3.5 but video and references."""
    return [str(uid) for uid in AllTransferSyntaxes if not any(word in UID(uid).name for word in REFUSED_SYNTAXES)]


def check_address(settings: ListenerSettings) -> None:
    """Raise ConfigError for an address beyond loopback that was not allowed in so many words."""
    loopback = settings.host == "localhost" or _is_loopback(settings.host)
    if not loopback and not settings.allow_remote:
        raise ConfigError(
            f"listener.host is {settings.host}, which others can reach; set listener.allow_remote = true if that is meant, "
            "and listener.calling_ae_titles or listener.networks to say who may send"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(settings: ListenerSettings) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate; peers must show one of tls_ca's where that is set (PS3.15 B.9)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_certificate is None or settings.tls_key is None:
        raise ConfigError("DICOM TLS needs listener.tls_certificate and listener.tls_key")
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    if settings.tls_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(settings.tls_ca)
    return context
