"""Settings of remote systems, each written once: what it is, how it is reached, and the roles that it has for us.

deliver: reports go there. fetch: new studies are fetched from there. commit: it asks us for Storage Commitment and is sent
the result on an association of our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dicom_pipeline.config.fields import AETitle, HttpUrl, Pattern, Port, Section


class DeliverSection(Section):
    """Which objects a peer is sent, and for how long. Every rule that is set must be met."""

    modalities: tuple[str, ...] = Field(
        (), description="Only of studies with used frames of these modalities; empty: all."
    )
    calling_ae_titles: tuple[AETitle, ...] = Field(
        (), description="Only of studies of which one of these nodes sent an instance; empty: all."
    )
    study_description: Pattern = Field(
        "", description="Only of studies whose description this regular expression finds, without regard to case."
    )
    labels: tuple[str, ...] = Field(
        (), description="Only where one of these labels is above its threshold in a series; empty: all."
    )
    objects: tuple[Literal["report", "key-image", "key-objects", "embeddings", "pdf"], ...] = Field(
        (), description="Only these kinds of object; empty: the report and every companion that is made."
    )
    give_up_hours: float = Field(
        168.0, gt=0, description="Hours of trying again after which a delivery is set aside for a person."
    )


class DicomDeliverSection(DeliverSection):
    """Deliveries by C-STORE."""

    verify: Literal["none", "find", "commitment"] = Field(
        "none",
        description='How arrival is verified: "find" asks for the object by C-FIND, "commitment" by Storage Commitment.',
    )


class WebDeliverSection(DeliverSection):
    """Deliveries over HTTP."""

    verify: Literal["none", "read-back"] = Field(
        "read-back", description='How arrival is verified: "read-back" reads the object and compares the data sets.'
    )


class FetchSection(Section):
    """Which new studies are fetched, and when."""

    modalities: tuple[str, ...] = Field((), description="Only series of these modalities; empty takes all.")
    description: Pattern = Field(
        "", description="Regular expression that the study's or the series' description must hold."
    )
    interval_seconds: float = Field(5.0, gt=0, description="Seconds between two looks at Orthanc's changes.")
    settle_seconds: float = Field(
        120.0,
        ge=0,
        description="Seconds after which a study is fetched that Orthanc never called stable; above StableAge.",
    )


class PeerSection(Section):
    """What every peer has."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name in status and logs.")
    roles: tuple[str, ...]

    @model_validator(mode="after")
    def _no_table_without_its_role(self) -> Self:
        for role in ("deliver", "fetch"):
            if role in self.model_fields_set and role not in self.roles:
                raise ValueError(f'[peers.{role}] is set, but roles does not name "{role}"')
        return self


class DicomPeer(PeerSection):
    """A DICOM node: C-STORE, C-FIND, Storage Commitment."""

    type: Literal["dicom"]
    roles: tuple[Literal["deliver", "commit"], ...] = Field(
        ("deliver",), min_length=1, description='"deliver": it gets reports; "commit": it asks us for commitments.'
    )
    ae_title: AETitle = Field(description="AE title of the node.")
    host: str = Field(description="Its host name or address.")
    port: Port = Field(description="Its port.")
    calling_ae_title: AETitle | None = Field(None, description="AE title that we call with; unset is the listener's.")
    tls: bool = Field(False, description="Call it with TLS; tls_ca switches it on too.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that we trust; unset is the system's.")
    tls_certificate: Path | None = Field(None, description="PEM file of our certificate for mutual TLS.")
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    timeout_seconds: float = Field(30.0, gt=0, description="Seconds for each phase of an association.")
    deliver: DicomDeliverSection = DicomDeliverSection()

    @property
    def uses_tls(self) -> bool:
        """Whether associations with it are encrypted."""
        return self.tls or self.tls_ca is not None


class FolderPeer(PeerSection):
    """A folder of DICOM files."""

    type: Literal["folder"]
    roles: tuple[Literal["deliver"], ...] = Field(("deliver",), min_length=1, description="It gets reports.")
    path: Path = Field(description="Folder; made if it is not there. Relative to this file.")
    deliver: DeliverSection = DeliverSection()


class OrthancPeer(PeerSection):
    """An Orthanc server: its REST API. fetch is for one in which no plug-in may be installed."""

    type: Literal["orthanc"]
    roles: tuple[Literal["deliver", "fetch"], ...] = Field(
        ("deliver",), min_length=1, description='"deliver": it gets reports; "fetch": its new studies are fetched.'
    )
    url: HttpUrl = Field(description="URL of Orthanc, such as http://127.0.0.1:8042.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that sign its HTTPS certificate.")
    deliver: WebDeliverSection = WebDeliverSection()
    fetch: FetchSection = FetchSection()


class DicomWebPeer(PeerSection):
    """A DICOMweb server: STOW-RS. Wants the extra `dicomweb`."""

    type: Literal["dicomweb"]
    roles: tuple[Literal["deliver"], ...] = Field(("deliver",), min_length=1, description="It gets reports.")
    url: HttpUrl = Field(description="Base URL, such as https://pacs.example/dicom-web.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    token_env: str | None = Field(None, description="Environment variable that holds a bearer token.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that we trust; unset is the system's.")
    tls_certificate: Path | None = Field(None, description="PEM file of our certificate for mutual TLS.")
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    timeout_seconds: float = Field(30.0, gt=0, description="Seconds for each request.")
    deliver: WebDeliverSection = WebDeliverSection()


AnyPeer = Annotated[DicomPeer | FolderPeer | OrthancPeer | DicomWebPeer, Field(discriminator="type")]
