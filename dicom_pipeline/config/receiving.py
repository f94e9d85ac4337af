"""Settings of what comes in: the listener, the spool, and when a study is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_pipeline.config.fields import AETitle, Patterns, Port, Section

AtCap = Literal["proceed", "hold", "discard"]


class ListenerSection(Section):
    """What the DICOM listener accepts."""

    ae_title: AETitle = Field("DICOMPIPE", description="Our Application Entity title, 1 to 16 characters.")
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Loopback by default; any other also needs allow_remote.",
    )
    port: Port = Field(11112, description="TCP port; 11112 is DICOM's registered port for which no root is needed.")
    allow_remote: bool = Field(
        False, description="Set to true to listen beyond loopback, after you have set calling_ae_titles or networks."
    )
    require_called_ae: bool = Field(True, description="Refuse an association that calls another AE title than ours.")
    calling_ae_titles: tuple[AETitle, ...] = Field((), description="AE titles that may send; empty admits every title.")
    networks: tuple[str, ...] = Field(
        (), description='Source networks that may connect, such as "10.1.0.0/16"; empty admits all.'
    )
    max_associations: int = Field(50, ge=1, description="Associations open at once; more are refused as congestion.")
    max_associations_per_peer: int = Field(20, ge=1, description="Of these, as many from one address.")
    sop_classes: tuple[str, ...] = Field(
        (), description="Storage SOP classes (keywords or UIDs) that are taken; empty takes all."
    )
    extra_sop_classes: tuple[str, ...] = Field(
        (),
        description="Storage classes that are taken besides those of the standard in force: retired ones (keywords or UIDs) "
        "and private ones (UIDs).",
    )
    max_pdu_bytes: int = Field(131072, ge=4096, description="Largest PDU in bytes; larger ones are fewer and faster.")
    max_object_bytes: int = Field(
        4 * 1024**3, ge=1024, description="Largest instance in bytes; a larger one is refused with 0xA700."
    )
    max_inflated_bytes: int = Field(1024**3, ge=1024, description="Largest deflated data set, inflated, in bytes.")
    association_timeout_seconds: float = Field(15.0, gt=0, description="Seconds for TLS and the association request.")
    idle_timeout_seconds: float = Field(60.0, gt=0, description="Seconds of silence between two messages.")
    network_timeout_seconds: float = Field(60.0, gt=0, description="Seconds of silence in a message, and for one PDU.")
    min_bytes_per_second: int = Field(
        1024, ge=0, description="Slowest rate of an instance, after ten seconds; slower senders are ended."
    )
    tls_certificate: Path | None = Field(None, description="PEM file of our certificate chain; switches DICOM TLS on.")
    tls_key: Path | None = Field(None, description="PEM file of our private key.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities whose certificates peers must show.")


class SpoolSection(Section):
    """Where received instances are kept, and how long; docs/keeping.md says what may be cleaned."""

    folder: Path = Field(
        Path("dicom-pipeline-data"),
        description="Folder of everything that lasts: spool, catalog, results. Relative to this file.",
    )
    min_free_bytes: int = Field(
        1024**3, ge=0, description="Refuse new instances (0xA700) while less than this is free on the disk."
    )
    keep_days: float | None = Field(
        None, ge=0, description="Days after delivery when a study's files are cleaned from the spool; unset keeps them."
    )
    keep_bytes: int | None = Field(
        None,
        ge=0,
        description="Bytes of files above which the studies delivered longest ago are cleaned; unset is no limit.",
    )


class AssemblyRuleSection(Section):
    """How long studies of some senders or modalities wait; what is not set here is as in [assembly]."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name in status and logs.")
    calling_ae_titles: tuple[AETitle, ...] = Field(
        (), description="Studies of which one of these AE titles sent a part; empty fits every sender."
    )
    modalities: tuple[str, ...] = Field(
        (), description="Studies with a series of one of these modalities; empty fits all."
    )
    quiet_seconds: float | None = Field(None, ge=0, description="In place of [assembly]'s.")
    hard_cap_seconds: float | None = Field(None, gt=0, description="In place of [assembly]'s.")
    wanted_series: Patterns | None = Field(None, description="In place of [assembly]'s.")
    at_hard_cap: AtCap | None = Field(None, description="In place of [assembly]'s.")


class AssemblySection(Section):
    """When a study counts as complete; docs/keeping.md shows rules."""

    quiet_seconds: float = Field(
        20.0, ge=0, description="Seconds without a new instance or open association before a study is processed."
    )
    hard_cap_seconds: float = Field(
        3600.0, gt=0, description="Seconds after the first instance when waiting ends whatever happens; written down."
    )
    wanted_series: Patterns = Field(
        (), description="Regular expressions; for each, a series must be there whose description it is found in."
    )
    at_hard_cap: AtCap = Field(
        "proceed",
        description="At the cap: proceed as it stands, hold for a person, or discard with a reason.",
    )
    rules: tuple[AssemblyRuleSection, ...] = Field(
        (), description="Other values for some senders or modalities, each [[assembly.rules]]; the first that fits."
    )
