"""All settings, and how they are read: a TOML file, then the environment."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_pipeline.config.fields import NAME_OR_PATH
from dicom_pipeline.config.older_tables import with_peers, with_rendering
from dicom_pipeline.config.operating import AuditSection, ServiceSection
from dicom_pipeline.config.peers import AnyPeer, DicomPeer, OrthancPeer
from dicom_pipeline.config.processing import (
    EncoderSection,
    PlanningSection,
    RenderingSection,
    ReportSection,
    ResultsSection,
    ScoringSection,
    StoreSection,
)
from dicom_pipeline.config.receiving import AssemblySection, ListenerSection, SpoolSection
from dicom_pipeline.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T", bound=BaseModel)


class Settings(BaseSettings):
    """Everything that can be set. Frozen; `Settings()` is all defaults."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="DICOM_PIPELINE_", env_nested_delimiter="__"
    )

    listener: ListenerSection = ListenerSection()
    spool: SpoolSection = SpoolSection()
    assembly: AssemblySection = AssemblySection()
    planning: PlanningSection = PlanningSection()
    rendering: RenderingSection = RenderingSection()
    encoder: EncoderSection = EncoderSection()
    scoring: ScoringSection = ScoringSection()
    report: ReportSection = ReportSection()
    results: ResultsSection = ResultsSection()
    store: StoreSection = StoreSection()
    service: ServiceSection = ServiceSection()
    audit: AuditSection = AuditSection()
    peers: tuple[AnyPeer, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, values: Any) -> Any:
        return with_rendering(values)

    @model_validator(mode="after")
    def _names_are_used_once(self) -> Self:
        """A name stands for one peer in the outbox and in the cursors of sources."""
        for role in ("deliver", "fetch", "commit"):
            names = [peer.name for peer in self.peers if role in peer.roles]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f'peers with the role "{role}" need different names, found twice: {", ".join(twice)}')
        return self

    @property
    def delivering(self) -> tuple[AnyPeer, ...]:
        """Peers that reports go to."""
        return tuple(peer for peer in self.peers if "deliver" in peer.roles)

    @property
    def fetching(self) -> tuple[OrthancPeer, ...]:
        """Peers whose new studies are fetched."""
        return tuple(peer for peer in self.peers if isinstance(peer, OrthancPeer) and "fetch" in peer.roles)

    @property
    def committing(self) -> tuple[DicomPeer, ...]:
        """Nodes that are sent the results of the commitments that they ask for."""
        return tuple(peer for peer in self.peers if isinstance(peer, DicomPeer) and "commit" in peer.roles)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (whose values arrive as init arguments)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def store_uri(settings: Settings) -> str:
    """Folder or URL of the embedding store."""
    place = settings.store.place
    return place if "://" in place else str(settings.spool.folder / Path(place).expanduser())


def load_settings(path: Path | str | None = None) -> Settings:
    """Settings of a TOML file; all defaults (and the environment) without one.

    Relative paths in the file are taken from the file's folder, so that a service started elsewhere finds them.
    Raises ConfigError that names each wrong key, what was found and what was expected.
    """
    values: dict[str, Any] = {}
    folder = Path.cwd()
    if path is not None:
        file = Path(path)
        folder = file.resolve().parent
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"no configuration file at {file}; `dicom-pipeline init` writes one to start from"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not valid TOML: {error}") from error
    values, advice = with_peers(_with_older_environment(values))
    for sentence in advice:
        log.warning("%s: %s; the older form is read for one more version", path or "environment", sentence)
    try:
        return _rooted(Settings(**values), folder)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, values.get("peers", ()))) from error


def _with_older_environment(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the older tables that the environment holds: pydantic reads only the settings that there are."""
    found = {}
    for table in ("destinations", "sources"):
        if (text := os.environ.get(variable := f"DICOM_PIPELINE_{table.upper()}")) is not None:
            try:
                found[table] = json.loads(text)
            except ValueError as error:
                raise ConfigError(f"{variable} is not valid JSON: {error}") from error
    return values | found


def _explain(error: ValidationError, path: Path | str | None, peers: Sequence[Any]) -> str:
    lines = [f"{path or 'the settings'}: {error.error_count()} setting(s) are wrong"]
    for problem in error.errors(include_url=False, include_input=False):
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            message = "no such setting; look for a typing error"
        elif problem["type"].startswith("union_tag"):
            message = 'each of [[peers]] needs a type: "dicom", "dicomweb", "orthanc" or "folder"'
        lines.append(f"  {_place(problem['loc'], peers)}: {message.removeprefix('Value error, ')}")
    return "\n".join(lines)


def _place(loc: tuple[int | str, ...], peers: Sequence[Any]) -> str:
    """Where in the file: peers.pacs.port rather than pydantic's peers.0.dicom.port."""
    if len(loc) > 1 and loc[0] == "peers" and isinstance(loc[1], int) and loc[1] < len(peers):
        peer = peers[loc[1]]
        name = peer.get("name", loc[1]) if isinstance(peer, dict) else loc[1]
        loc = ("peers", name, *loc[3:])
    return ".".join(str(part) for part in loc) or "settings"


def _rooted(section: T, folder: Path) -> T:
    """The section with every relative path made absolute against `folder`, in depth."""
    changes: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if NAME_OR_PATH in field.metadata:
            changes[name] = (
                tuple(_named(v, folder) for v in value) if isinstance(value, tuple) else _named(value, folder)
            )
        elif isinstance(value, Path):
            changes[name] = folder / value.expanduser()
        elif isinstance(value, BaseModel):
            changes[name] = _rooted(value, folder)
        elif isinstance(value, tuple):
            changes[name] = tuple(_rooted_item(item, folder) for item in value)
    return section.model_copy(update=changes)


def _named(value: str, folder: Path) -> str:
    """What is there under a name beside the settings file, else the name."""
    return str(folder / value) if (folder / value).exists() else value


def _rooted_item(item: Any, folder: Path) -> Any:
    if isinstance(item, BaseModel):
        return _rooted(item, folder)
    return folder / item.expanduser() if isinstance(item, Path) else item
