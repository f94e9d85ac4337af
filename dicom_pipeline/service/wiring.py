"""Destinations of the settings as things that send, and the rules by which they get what."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from dicom_pipeline.audit import Origin, Record, Trail, unrecorded
from dicom_pipeline.audit.forwarder import Forwarder
from dicom_pipeline.audit.syslog import Carrier, Datagrams, SecureStream, tls_client_context
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import (
    AnyDestination,
    DicomDestination,
    DicomWebDestination,
    FolderDestination,
    Settings,
)
from dicom_pipeline.config.secrets import secret
from dicom_pipeline.delivery.retry import RetryRule
from dicom_pipeline.delivery.rules import DeliveryRule
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.peers.dicom_node import DicomNode
from dicom_pipeline.peers.dicomweb import DicomWebServer
from dicom_pipeline.peers.folder import Folder
from dicom_pipeline.peers.orthanc import OrthancServer
from dicom_pipeline.peers.peer import Destination
from dicom_pipeline.scoring import load_label_set, load_probe


def destinations_of(settings: Settings) -> list[Destination]:
    """One sender a [[destinations]] entry. Raises ConfigError for a name used twice or a secret that is not there."""
    names = [entry.name for entry in settings.destinations]
    if len(set(names)) != len(names):
        raise ConfigError(f"destinations need different names, found {names}")
    return [_destination(entry, settings.listener.ae_title) for entry in settings.destinations]


def rules_of(settings: Settings) -> dict[str, DeliveryRule]:
    """Name of a destination -> what goes there."""
    return {
        entry.name: DeliveryRule(
            modalities=entry.modalities,
            calling_ae_titles=entry.calling_ae_titles,
            study_description=entry.study_description,
            labels=entry.labels,
            objects=entry.objects,
        )
        for entry in settings.destinations
    }


def retry_rules_of(settings: Settings) -> dict[str, RetryRule]:
    """Name of a destination -> how long it is tried."""
    return {entry.name: RetryRule(most_seconds=entry.give_up_hours * 3600.0) for entry in settings.destinations}


def check_rules(settings: Settings) -> None:
    """Raise ConfigError for a rule that could never be met, which would keep reports back without a word."""
    for entry in settings.destinations:
        where = f"destination {entry.name}"
        try:
            re.compile(entry.study_description)
        except re.error as error:
            raise ConfigError(f"{where}: study_description is no regular expression: {error}") from error
        if unmade := set(entry.objects) - {"report", *settings.report.companions}:
            raise ConfigError(f"{where}: objects names what report.companions does not make: {sorted(unmade)}")
        if entry.labels and (unknown := set(entry.labels) - _labels_with_threshold(settings)):
            raise ConfigError(f"{where}: no label with a threshold is called {sorted(unknown)}")
        admitted = settings.listener.calling_ae_titles
        asked = entry.ae_title if isinstance(entry, DicomDestination) and entry.verify == "commitment" else None
        if asked and admitted and asked not in admitted:
            raise ConfigError(
                f"{where}: it answers Storage Commitment by calling the listener, which does not admit it: "
                f"add {asked!r} to listener.calling_ae_titles"
            )


def _labels_with_threshold(settings: Settings) -> set[str]:
    chosen = settings.scoring.label_set
    labels = [] if chosen == "none" else list(load_label_set(chosen).labels)
    for folder in settings.scoring.probes:
        labels += load_probe(folder).report_labels
    return {label.name for label in labels if label.threshold is not None}


def _destination(entry: AnyDestination, own_ae_title: str) -> Destination:
    if isinstance(entry, FolderDestination):
        return Folder(entry.name, entry.path)
    if isinstance(entry, DicomDestination):
        return DicomNode(
            name=entry.name,
            ae_title=entry.ae_title,
            host=entry.host,
            port=entry.port,
            calling_ae=entry.calling_ae_title or own_ae_title,
            verify=entry.verify,
            timeout_seconds=entry.timeout_seconds,
            tls_ca=entry.tls_ca,
            tls_certificate=entry.tls_certificate,
            tls_key=entry.tls_key,
        )
    password = secret(entry.password_env, f"destination {entry.name}")
    if isinstance(entry, DicomWebDestination):
        return DicomWebServer(
            name=entry.name,
            url=entry.url,
            username=entry.username,
            password=password,
            token=secret(entry.token_env, f"destination {entry.name}"),
            tls_ca=entry.tls_ca,
            tls_certificate=entry.tls_certificate,
            tls_key=entry.tls_key,
            timeout_seconds=entry.timeout_seconds,
            verify=entry.verify,
        )
    return OrthancServer(entry.name, entry.url, entry.username, password, entry.verify, entry.tls_ca)


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


def receiver_of(settings: Settings, catalog: Catalog, record: Record) -> Receiver:
    """What receives whole files, with the listener's limits."""
    return Receiver(
        catalog,
        Spool(settings.spool.folder),
        settings.listener.max_object_bytes,
        settings.spool.min_free_bytes,
        ThreadTransfers(record),
        max_inflated_bytes=settings.listener.max_inflated_bytes,
    )
