"""All settings, and how they are read: a TOML file, then the environment."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_pipeline.config.delivering import AnyDestination
from dicom_pipeline.config.fields import NAME_OR_PATH
from dicom_pipeline.config.operating import AuditSection, ServiceSection
from dicom_pipeline.config.processing import (
    EncoderSection,
    PlanningSection,
    ReportSection,
    ScoringSection,
    StoreSection,
)
from dicom_pipeline.config.receiving import AssemblySection, ListenerSection, OrthancSource, SpoolSection
from dicom_pipeline.errors import ConfigError

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
    encoder: EncoderSection = EncoderSection()
    scoring: ScoringSection = ScoringSection()
    report: ReportSection = ReportSection()
    store: StoreSection = StoreSection()
    service: ServiceSection = ServiceSection()
    audit: AuditSection = AuditSection()
    destinations: tuple[AnyDestination, ...] = ()
    sources: tuple[OrthancSource, ...] = ()

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
    try:
        return _rooted(Settings(**values), folder)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error


def _explain(error: ValidationError, path: Path | str | None) -> str:
    lines = [f"{path or 'the settings'}: {error.error_count()} setting(s) are wrong"]
    untyped = False
    for problem in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"])
        message = "no such setting; look for a typing error" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {where}: {message}")
        untyped = untyped or (problem["loc"][0] == "destinations" and problem["type"].startswith("union_tag"))
    if untyped:
        lines.append('  each [[destinations]] needs a type: "dicom", "dicomweb", "orthanc" or "folder"')
    return "\n".join(lines)


def _rooted(section: T, folder: Path) -> T:
    """The section with every relative path made absolute against `folder`, in depth."""
    changes: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if NAME_OR_PATH in field.metadata:
            changes[name] = str(folder / value) if (folder / value).exists() else value
        elif isinstance(value, Path):
            changes[name] = folder / value.expanduser()
        elif isinstance(value, BaseModel):
            changes[name] = _rooted(value, folder)
        elif isinstance(value, tuple):
            changes[name] = tuple(_rooted_item(item, folder) for item in value)
    return section.model_copy(update=changes)


def _rooted_item(item: Any, folder: Path) -> Any:
    if isinstance(item, BaseModel):
        return _rooted(item, folder)
    return folder / item.expanduser() if isinstance(item, Path) else item
