"""WIRING: settings to the objects that work with them, in one place."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from dicom_pipeline.audit import Origin, Record, Trail, unrecorded
from dicom_pipeline.audit.forwarder import Forwarder
from dicom_pipeline.audit.syslog import Carrier, Datagrams, SecureStream, tls_client_context
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import AnyPeer, DicomPeer, DicomWebPeer, FolderPeer, OrthancPeer, Settings
from dicom_pipeline.config.secrets import secret
from dicom_pipeline.delivery.retry import RetryRule
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.intake.storage import Submitter
from dicom_pipeline.peers.dicom_node import DicomNode
from dicom_pipeline.peers.dicomweb import DicomWebServer
from dicom_pipeline.peers.folder import Folder
from dicom_pipeline.peers.orthanc import OrthancServer
from dicom_pipeline.peers.peer import Destination
from dicom_pipeline.sources.poller import Poller


def destinations_of(settings: Settings) -> list[Destination]:
    """One sender for each peer that delivers. Raises ConfigError for a secret that is not set."""
    return [_destination(peer, settings.listener.ae_title) for peer in settings.delivering]


def orthanc_of(peer: OrthancPeer) -> OrthancServer:
    """An Orthanc of the settings. Raises ConfigError for a secret that is not set."""
    return OrthancServer(peer, _password(peer))


def pollers_of(settings: Settings, catalog: Catalog, receiver: Receiver) -> list[Poller]:
    """One poller for each peer that is fetched from. Raises ConfigError for a secret that is not set."""
    return [Poller(orthanc_of(peer), catalog, receiver) for peer in settings.fetching]


def retry_rules_of(settings: Settings) -> dict[str, RetryRule]:
    """Name of a peer -> how long deliveries to it are tried."""
    return {peer.name: RetryRule(max_seconds=peer.deliver.give_up_hours * 3600.0) for peer in settings.delivering}


def _destination(peer: AnyPeer, own_ae_title: str) -> Destination:
    match peer:
        case FolderPeer():
            return Folder(peer)
        case DicomPeer():
            return DicomNode(peer, own_ae_title)
        case DicomWebPeer():
            return DicomWebServer(peer, _password(peer), secret(peer.token_env, f"peers.{peer.name}"))
        case OrthancPeer():
            return orthanc_of(peer)


def _password(peer: OrthancPeer | DicomWebPeer) -> str | None:
    return secret(peer.password_env, f"peers.{peer.name}")


def trail_folder(settings: Settings) -> Path:
    """Where the audit files lie."""
    return settings.audit.folder or settings.spool.folder / "audit"


def record_of(settings: Settings, process: str) -> Record:
    """The trail as a process of the service writes to it."""
    section = settings.audit
    if not section.write:
        return unrecorded
    title = settings.listener.ae_title.strip()
    origin = Origin(
        source_id=section.source_id or f"{title}@{socket.gethostname()}",
        ae_title=title,
        process=process,
        pid=os.getpid(),
        site_id=section.site_id,
        patient_ids=section.patient_ids,
    )
    folder = trail_folder(settings)
    with suppress(OSError):  # then the first message that cannot be written says so
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Trail(folder, origin, section.max_file_bytes, section.keep_files).record


def forwarder_of(settings: Settings) -> Forwarder | None:
    """What sends the trail to the syslog server; None without one. Raises ConfigError for TLS files that do not work."""
    section = settings.audit
    if section.syslog == "none" or not section.write:
        return None
    carrier: Carrier
    if section.syslog == "udp":
        carrier = Datagrams(section.syslog_host, section.syslog_port or 514)
    else:
        context = tls_client_context(section.syslog_ca, section.syslog_certificate, section.syslog_key)
        carrier = SecureStream(section.syslog_host, section.syslog_port or 6514, context)
    return Forwarder(trail_folder(settings), carrier)


def receiver_of(settings: Settings, catalog: Catalog, record: Record, committer: Submitter | None = None) -> Receiver:
    """What receives instances, with the listener's limits. committer: shared by threads that receive at the same time."""
    return Receiver(
        catalog,
        Spool(settings.spool.folder),
        settings.listener.max_object_bytes,
        settings.spool.min_free_bytes,
        ThreadTransfers(record),
        max_inflated_bytes=settings.listener.max_inflated_bytes,
        committer=committer,
    )
