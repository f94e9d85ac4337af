"""The MedSigLIP block of Orthanc's configuration."""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

import orthanc

DEFAULTS: dict[str, Any] = {
    "Pipeline": "http://127.0.0.1:8448",
    "TokenEnv": "",
    "Send": "REST",
    "Modality": "",
    "Trigger": "StableStudy",
    "Automatic": True,
    "Rules": [],
    "Metadata": 4711,
    "QueueFile": "",
    "ExplorerSection": True,
}
EXPECTED_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    list: "a list in [ ]",
    int: "a number from 1024 to 65535",
}
RULE_KEYS = ("Modality", "Sender", "Label", "StudyDescription", "SeriesDescription", "Metadata")
STUDY_METADATA = ("LastUpdate", "ModifiedFrom", "AnonymizedFrom", "MainDicomTagsSignature", "MainDicomSequences")
"""Names of the metadata that Orthanc itself gives a study."""


class ConfigurationError(Exception):
    """The MedSigLIP block of Orthanc's configuration is wrong."""


class Configuration(NamedTuple):
    """The checked options. rules: as `check_rule` returns them. stable_age: Orthanc's StableAge in seconds."""

    pipeline: str
    token: str
    send: str
    modality: str
    trigger: str
    automatic: bool
    rules: list[dict[str, Any]]
    metadata: int
    queue_file: str
    explorer_section: bool
    stable_age: float

    def summary(self) -> str:
        """One sentence for the log: it shows an owner a block or a rule that Orthanc did not read."""
        what = "a series" if self.trigger == "StableSeries" else "a study"
        rules = f"rules: {len(self.rules)}" if self.rules else "no rules, so all of it"
        to = f"C-STORE to {self.modality}" if self.send == "DICOM" else f"HTTP to {self.pipeline}"
        when = "when it becomes stable" if self.automatic else "only where a person asks"
        return f"{what} is sent by {to} {when}, {rules}"


def read_configuration() -> Configuration:
    """Read and check the MedSigLIP block and what is needed of Orthanc's own options. Raises ConfigurationError."""
    whole = json.loads(orthanc.GetConfiguration())
    misspelt = [name for name in whole if name.lower() == "medsiglip" and name != "MedSigLIP"]
    if misspelt:
        raise ConfigurationError(f'it must be called "MedSigLIP", found "{misspelt[0]}"')
    options = with_defaults(whole.get("MedSigLIP", {}))
    check_options(options)
    if options["Send"] == "DICOM" and not has_modality(whole, options["Modality"]):
        raise ConfigurationError(f'"Modality": Orthanc\'s DicomModalities has no "{options["Modality"]}"')
    metadata_names = {*STUDY_METADATA, *whole.get("UserMetadata", {})}
    return Configuration(
        pipeline=options["Pipeline"],
        token=read_token(options["TokenEnv"]),
        send=options["Send"],
        modality=options["Modality"],
        trigger=options["Trigger"],
        automatic=options["Automatic"],
        rules=[check_rule(rule, metadata_names) for rule in options["Rules"]],
        metadata=options["Metadata"],
        queue_file=options["QueueFile"] or default_queue_file(whole),
        explorer_section=options["ExplorerSection"],
        stable_age=float(whole.get("StableAge", 60)),
    )


def with_defaults(given: Any) -> dict[str, Any]:
    """All options, each of its default's type. Raises ConfigurationError."""
    if not isinstance(given, dict):
        raise ConfigurationError('expected "MedSigLIP": {...}')
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise ConfigurationError(f"unknown option {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    options = {**DEFAULTS, **given}
    for name, default in DEFAULTS.items():
        if type(options[name]) is not type(default):  # "false" in quotes would be true
            kind = EXPECTED_KINDS[type(default)]
            raise ConfigurationError(f'"{name}" must be {kind}, found {json.dumps(options[name])}')
    return options


def check_options(options: dict[str, Any]) -> None:
    """Raise ConfigurationError for a value that is not allowed."""
    if options["Send"] not in ("REST", "DICOM"):
        raise ConfigurationError('"Send" must be "REST" or "DICOM"')
    if options["Send"] == "DICOM" and not options["Modality"]:
        raise ConfigurationError('"Send": "DICOM" needs "Modality", a name of Orthanc\'s DicomModalities')
    if options["Send"] == "REST" and not options["Pipeline"]:
        raise ConfigurationError('"Send": "REST" needs "Pipeline", the URL of the service\'s pages')
    if options["Pipeline"] and not is_url(options["Pipeline"]):
        example = DEFAULTS["Pipeline"]
        raise ConfigurationError(f'"Pipeline" must be a URL such as {example}, found "{options["Pipeline"]}"')
    if options["Trigger"] not in ("StableStudy", "StableSeries"):
        raise ConfigurationError('"Trigger" must be "StableStudy" or "StableSeries"')
    if not 1024 <= options["Metadata"] <= 65535:
        raise ConfigurationError('"Metadata" must be a number from 1024 to 65535')


def is_url(text: str) -> bool:
    """Whether a text is an HTTP or HTTPS URL with a host and, where it names a port, a valid one."""
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def read_token(variable: str) -> str:
    """The token in an environment variable; empty where none is named. Raises ConfigurationError where it is not set."""
    token = os.environ.get(variable, "") if variable else ""
    if variable and not token:
        raise ConfigurationError(f"the environment variable {variable} is not set")
    return token


def has_modality(whole: dict[str, Any], name: str) -> bool:
    """Whether Orthanc's configuration has a modality; one that keeps them in its database may get it later."""
    return bool(whole.get("DicomModalitiesInDatabase")) or name in whole.get("DicomModalities", {})


def check_rule(rule: Any, metadata_names: set[str]) -> dict[str, Any]:
    """A rule with its regular expressions compiled and its other values as lists. Raises ConfigurationError.

    metadata_names: names of a study's metadata that Orthanc has, besides numbers.
    """
    if not isinstance(rule, dict):
        raise ConfigurationError(f'a rule must look like {{"Modality": "CT"}}, found {json.dumps(rule)}')
    unknown = sorted(set(rule) - set(RULE_KEYS))
    if unknown:
        raise ConfigurationError(f"unknown rule key {', '.join(unknown)}; there are {', '.join(RULE_KEYS)}")
    checked = {}
    for key, value in rule.items():
        try:
            checked[key] = check_rule_value(key, value, metadata_names)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"rule key {key} cannot be read: {error}") from error
    return checked


def check_rule_value(key: str, value: Any, metadata_names: set[str]) -> Any:
    """One value of a rule: a list of texts, a pattern, or a dictionary of patterns. Raises TypeError or re.error."""
    found = json.dumps(value)
    if key in ("Modality", "Sender", "Label"):
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not value or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"expected a text or a list of texts, found {found}")
        if key == "Modality" and any(text != text.upper() for text in texts):
            raise TypeError(f"expected capitals, as DICOM writes modalities, found {found}")
        return texts
    if key == "Metadata":
        if not isinstance(value, dict):
            raise TypeError(f'expected {{"1025": "text"}}, a regular expression, found {found}')
        for name in value:
            if name not in metadata_names and not re.fullmatch("[0-9]{1,5}", name):
                raise TypeError(f"{name} is neither a number nor a name in Orthanc's UserMetadata")
        return {name: re.compile(pattern) for name, pattern in value.items()}
    if not isinstance(value, str):
        raise TypeError(f"expected a text, a regular expression, found {found}")
    return re.compile(value, re.IGNORECASE)


def default_queue_file(whole: dict[str, Any]) -> str:
    """In the folder of Orthanc's index; a relative folder is relative to the configuration, as for Orthanc."""
    folder = whole.get("IndexDirectory") or whole.get("StorageDirectory") or "OrthancStorage"
    path = Path(orthanc.GetConfigurationPath())
    return str((path if path.is_dir() else path.parent) / folder / "medsiglip-queue.sqlite")
