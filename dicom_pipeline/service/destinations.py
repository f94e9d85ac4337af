"""Destinations of the settings as things that send."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dicom_pipeline.config import AnyDestination, DicomDestination, DicomWebDestination, FolderDestination, Settings
from dicom_pipeline.delivery import Destination, DicomNode, DicomWebServer, Folder, OrthancServer
from dicom_pipeline.errors import ConfigError


def destinations_of(settings: Settings) -> list[Destination]:
    """One sender a [[destinations]] entry. Raises ConfigError for a name used twice or a secret that is not there."""
    names = [entry.name for entry in settings.destinations]
    if len(set(names)) != len(names):
        raise ConfigError(f"destinations need different names, found {names}")
    return [_destination(entry, settings.listener.ae_title) for entry in settings.destinations]


def names_for(destinations: Iterable[Destination], modalities: set[str]) -> list[str]:
    """Names of the destinations that want reports on these modalities."""
    return [d.name for d in destinations if not d.modalities or modalities & set(d.modalities)]


def _destination(entry: AnyDestination, own_ae_title: str) -> Destination:
    if isinstance(entry, FolderDestination):
        return Folder(entry.name, entry.path, entry.modalities)
    if isinstance(entry, DicomDestination):
        return DicomNode(
            name=entry.name,
            ae_title=entry.ae_title,
            host=entry.host,
            port=entry.port,
            calling_ae=entry.calling_ae_title or own_ae_title,
            modalities=entry.modalities,
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
            modalities=entry.modalities,
            username=entry.username,
            password=password,
            token=secret(entry.token_env, f"destination {entry.name}"),
            tls_ca=entry.tls_ca,
            tls_certificate=entry.tls_certificate,
            tls_key=entry.tls_key,
            timeout_seconds=entry.timeout_seconds,
            verify=entry.verify,
        )
    return OrthancServer(entry.name, entry.url, entry.modalities, entry.username, password, entry.verify, entry.tls_ca)


def secret(variable: str | None, whose: str) -> str | None:
    """The value of an environment variable; None where none is named. Raises ConfigError where it is not set."""
    if variable is None:
        return None
    value = os.environ.get(variable)
    if value is None:
        raise ConfigError(f"{whose}: the environment variable {variable} is not set")
    return value
