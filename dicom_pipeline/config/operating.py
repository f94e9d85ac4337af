"""Settings of the running service: its pages and logs, and the audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from dicom_pipeline.config.fields import Port, Section


class ServiceSection(Section):
    """The running service."""

    web_host: str = Field("127.0.0.1", description="Address of the HTTP pages (health, status, reports).")
    web_port: Annotated[Port | None, BeforeValidator(lambda given: None if given == 0 else given)] = Field(
        8448, description="TCP port of the HTTP pages; 0 to have none."
    )
    web_token_env: str | None = Field(
        None, description="Environment variable with the token that the study routes ask for; beyond loopback needed."
    )
    web_names: tuple[str, ...] = Field(
        (), description="Host names by which browsers reach the pages; addresses, localhost and web_host always do."
    )
    max_attempts: int = Field(3, ge=1, description="Times a revision is tried when the worker dies while it runs.")
    silent_seconds: float = Field(
        600.0,
        ge=5,
        description="Seconds without progress after which a process that hangs is killed and started again; "
        "a batch on a slow machine takes minutes.",
    )
    starting_seconds: float = Field(
        3600.0, ge=5, description="The same while a process starts: it may fetch and load its model."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")


class AuditSection(Section):
    """Who sent what, when, to which report: DICOM audit messages (PS3.15 A.5) in files, and to a syslog server."""

    write: bool = Field(True, description="Keep an audit trail.")
    folder: Path | None = Field(None, description="Folder of its files; unset is audit in the spool's folder.")
    max_file_bytes: int = Field(
        100 * 1024**2, ge=4096, description="Size in bytes at which a file is left for the next one."
    )
    keep_files: int = Field(
        0, ge=0, description="Newest files that are kept; 0 keeps all, as how long they must be kept is for you to say."
    )
    patient_ids: bool = Field(
        False, description="Name the patient's ID in messages, as PS3.15 asks; see docs/audit.md."
    )
    source_id: str | None = Field(None, description="Name of this system in messages; unset is AE title@host name.")
    site_id: str = Field("", description="Name of your site in messages (AuditEnterpriseSiteID); empty for none.")
    syslog: Literal["none", "udp", "tls"] = Field("none", description="How messages go to a syslog server too.")
    syslog_host: str = Field("127.0.0.1", description="Its host name or address.")
    syslog_port: Port | None = Field(None, description="Its port; unset is 514 for UDP and 6514 for TLS.")
    syslog_ca: Path | None = Field(
        None, description="PEM file of the authorities that we trust; unset is the system's."
    )
    syslog_certificate: Path | None = Field(None, description="PEM file of our certificate for mutual TLS.")
    syslog_key: Path | None = Field(None, description="PEM file of its key.")
