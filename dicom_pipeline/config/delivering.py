"""Settings of where reports go, and by which rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dicom_pipeline.config.fields import AETitle, HttpUrl, Port, Section


class DestinationSection(Section):
    """What every destination has."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name in status and logs.")
    modalities: tuple[str, ...] = Field(
        (), description="Only of studies with used frames of these modalities; empty: all."
    )
    calling_ae_titles: tuple[AETitle, ...] = Field(
        (), description="Only of studies of which one of these nodes sent an instance; empty: all."
    )
    study_description: str = Field(
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


class DicomDestination(DestinationSection):
    """A DICOM node: C-STORE."""

    type: Literal["dicom"]
    ae_title: AETitle = Field(description="AE title of the node.")
    host: str = Field(description="Its host name or address.")
    port: Port = Field(description="Its port.")
    calling_ae_title: AETitle | None = Field(None, description="AE title that we call with; unset is the listener's.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that we trust; switches TLS on.")
    tls_certificate: Path | None = Field(None, description="PEM file of our certificate for mutual TLS.")
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    timeout_seconds: float = Field(30.0, gt=0, description="Seconds for each phase of an association.")
    verify: Literal["none", "find", "commitment"] = Field(
        "none",
        description='How arrival is verified: "find" asks for the object by C-FIND, "commitment" by Storage Commitment.',
    )


class FolderDestination(DestinationSection):
    """A folder of DICOM files."""

    type: Literal["folder"]
    path: Path = Field(description="Folder; made if it is not there. Relative to this file.")


class OrthancDestination(DestinationSection):
    """An Orthanc server: its REST API."""

    type: Literal["orthanc"]
    url: HttpUrl = Field(description="URL of Orthanc, such as http://127.0.0.1:8042.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    verify: bool = Field(True, description="Read the object back and compare it as a data set.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that sign its HTTPS certificate.")


class DicomWebDestination(DestinationSection):
    """A DICOMweb server: STOW-RS. Wants the extra `dicomweb`."""

    type: Literal["dicomweb"]
    url: HttpUrl = Field(description="Base URL, such as https://pacs.example/dicom-web.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    token_env: str | None = Field(None, description="Environment variable that holds a bearer token.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that we trust; unset is the system's.")
    tls_certificate: Path | None = Field(None, description="PEM file of our certificate for mutual TLS.")
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    timeout_seconds: float = Field(30.0, gt=0, description="Seconds for each request.")
    verify: bool = Field(True, description="Read the object back by WADO-RS and compare it as a data set.")


AnyDestination = Annotated[
    DicomDestination | FolderDestination | OrthancDestination | DicomWebDestination, Field(discriminator="type")
]
