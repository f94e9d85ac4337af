"""One TOML file -> frozen settings.

Each field says its unit, its default and why in its description; `dicom-pipeline init` prints them as comments, and
docs/configuration.md is the same text. Any value can be overridden by an environment variable
`DICOM_PIPELINE_SECTION__FIELD`. Secrets are never written here: a setting that ends in `_env` names the environment
variable that holds one.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_pipeline.errors import ConfigError

T = TypeVar("T", bound=BaseModel)

AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]*$")]
"""An Application Entity title: 1 to 16 ASCII characters, no backslash (PS3.5 6.2, VR AE)."""

Port = Annotated[int, Field(ge=1, le=65535)]

NAME_OR_PATH = "name or path"
NameOrPath = Annotated[str, NAME_OR_PATH]
"""A name that means something by itself, unless something lies under it beside the settings file."""


def _pattern(text: str) -> str:
    """A regular expression that can be read."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from error
    return text


class Section(BaseModel):
    """One table of the TOML file; unknown keys are refused, so that a typing error is no silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PeerSection(Section):
    """A node that is known by its AE title."""

    ae_title: AETitle = Field(description="AE title that it calls with.")
    host: str = Field(description="Its host name or address.")
    port: Port = Field(description="Its port.")
    tls: bool = Field(False, description="Call it with TLS, with the listener's certificate.")


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
    peers: tuple[PeerSection, ...] = Field(
        (), description="Nodes that are told on an association of our own what was committed (Storage Commitment)."
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


AtCap = Literal["proceed", "hold", "discard"]
Patterns = tuple[Annotated[str, AfterValidator(_pattern)], ...]


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


class PlanningSection(Section):
    """Which frames are used and how they are rendered; the rule table in docs/selection.md has the defaults."""

    preset: str | None = Field(None, description="One preset for every series, instead of the rule table's choice.")
    selection: str | None = Field(None, description='One selection SPEC for every series, such as "uniform:32".')
    rules_file: Path | None = Field(None, description="A rule table of your own (TOML) in place of the shipped one.")


class EncoderSection(Section):
    """The model."""

    model: NameOrPath = Field(
        "phantom",
        description='Encoder: "phantom" (shipped, trained on drawings only), "google/medsiglip-448", or a folder.',
    )
    revision: str | None = Field(None, description="Git revision of a hub model; pin it for reproducible numbers.")
    device: str = Field("auto", description='"auto" measures; or "cpu", "cuda", "cuda:1".')
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the model; auto takes the fastest one that keeps the embeddings."
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Renderings at once, across studies; unset: 2 on a CPU, what fits up to 64 on a GPU.",
    )
    render_threads: int = Field(2, ge=1, le=64, description="Threads that decode and render ahead of the encoder.")
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; unset leaves it to torch.")


class ScoringSection(Section):
    """Zero-shot label scores."""

    label_set: NameOrPath = Field(
        "phantom", description='Shipped label set (see `dicom-pipeline labels`), TOML file, or "none" for probes alone.'
    )
    probes: tuple[Path, ...] = Field((), description="Folders of fitted probes (see docs/probes.md) that score too.")
    derivation: Literal["max", "mean", "top-k-mean"] = Field(
        "max", description="How frame scores become a series score; max suits findings that few slices show."
    )


class ReportSection(Section):
    """The Structured Report."""

    sop_class: Literal["comprehensive-3d", "comprehensive", "enhanced"] = Field(
        "comprehensive-3d", description="SR class to make; a DICOM node that does not take it gets the next simpler."
    )
    key_frames: int = Field(3, ge=0, le=20, description="Frames with the highest scores that get a group of their own.")
    companions: tuple[Literal["key-image", "key-objects", "embeddings", "pdf"], ...] = Field(
        (), description="Objects to send beside the report; see docs/report.md."
    )


class StoreSection(Section):
    """The embedding store for research."""

    write: bool = Field(True, description="Write embeddings and scores to the store, once a revision.")
    place: str = Field(
        "store", description="Folder, relative to the spool's, or a URL such as s3://bucket/path (LanceDB)."
    )
    compact_every: int = Field(
        100, ge=1, description="Least number of studies written between two compactions of the store."
    )
    keep_versions_hours: float = Field(
        24.0, ge=0, description="Hours for which replaced and removed rows stay on the disk, for readers under way."
    )
    index_rows: int = Field(
        100_000,
        ge=1,
        description="Rows from which on `store compact` builds a vector index; with fewer, search is exact without.",
    )
    pseudonym_key: Path = Field(
        Path("pseudonyms.key"), description="File with the secret key of exports; made when first needed. Keep it safe."
    )
    viewers: tuple[str, ...] = Field(
        (), description='Links in search results, such as "OHIF=http://host/viewer?StudyInstanceUIDs={study}".'
    )


class ServiceSection(Section):
    """The running service."""

    web_host: str = Field("127.0.0.1", description="Address of the HTTP pages (health, status, reports).")
    web_port: Port | None = Field(8448, description="TCP port of the HTTP pages; remove to have none.")
    web_token_env: str | None = Field(
        None, description="Environment variable with the token that the study routes ask for; beyond loopback needed."
    )
    max_attempts: int = Field(3, ge=1, description="Times a revision is tried when the worker dies while it runs.")
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
    url: str = Field(description="URL of Orthanc, such as http://127.0.0.1:8042.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    verify: bool = Field(True, description="Read the object back and compare it as a data set.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that sign its HTTPS certificate.")


class DicomWebDestination(DestinationSection):
    """A DICOMweb server: STOW-RS. Wants the extra `dicomweb`."""

    type: Literal["dicomweb"]
    url: str = Field(description="Base URL, such as https://pacs.example/dicom-web.")
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


class OrthancSource(Section):
    """An Orthanc whose new studies are fetched over its REST API, where no plug-in may be installed in it."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name in status and logs.")
    url: str = Field(description="URL of Orthanc, such as http://127.0.0.1:8042.")
    username: str | None = Field(None, description="User name for basic authentication.")
    password_env: str | None = Field(None, description="Environment variable that holds the password.")
    tls_ca: Path | None = Field(None, description="PEM file of the authorities that sign its HTTPS certificate.")
    modalities: tuple[str, ...] = Field((), description="Only series of these modalities; empty takes all.")
    description: str = Field(
        "", description="Regular expression that the study's or the series' description must hold."
    )
    interval_seconds: float = Field(5.0, gt=0, description="Seconds between two looks at Orthanc's changes.")
    settle_seconds: float = Field(
        120.0,
        ge=0,
        description="Seconds after which a study is fetched that Orthanc never called stable; above StableAge.",
    )


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


def store_place(settings: Settings) -> str:
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
    for problem in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"])
        message = "no such setting; look for a typing error" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {where}: {message}")
    names = [d for d in error.errors(include_url=False, include_input=False) if d["loc"][:1] == ("destinations",)]
    if names:
        lines.append('  each [[destinations]] needs a type: "dicom", "folder" or "orthanc"')
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
