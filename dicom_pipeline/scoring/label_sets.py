"""Label sets: versioned TOML files of labels, their prompts and codes. Shipped ones lie in data/label_sets/."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from dicom_pipeline.domain import Code, Label, LabelSet, ScoreKind
from dicom_pipeline.errors import LabelSetError
from dicom_pipeline.scoring.conditions import conditions_from

SET_KEYS = {"version", "kind", "source", "licence", "applies_to", "label"}
LABEL_KEYS = {"name", "positive", "negative", "code", "site", "modalities", "applies_to", "threshold"}


def list_label_sets() -> tuple[LabelSet, ...]:
    """All shipped label sets by name."""
    names = sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml"))
    return tuple(load_label_set(name) for name in names)


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """A shipped label set by name, or one from a TOML file. Raises LabelSetError that says what is wrong where."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise LabelSetError(f"cannot read the label set {path}: {error.strerror}") from error
        name = path.stem
    else:
        name = str(name_or_path)
        file = _folder() / f"{name}.toml"
        if not name.replace("-", "").isalnum() or not file.is_file():
            known = ", ".join(sorted(f.name.removesuffix(".toml") for f in _folder().iterdir()))
            raise LabelSetError(f"no label set {name!r}; shipped are {known}; or give the path of a .toml file")
        text = file.read_text(encoding="utf-8")
    try:
        return label_set_from(name, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise LabelSetError(f"label set {name} is not valid TOML: {error}") from error


def label_set_from(name: str, table: Mapping[str, Any]) -> LabelSet:
    """A label set of plain values. Raises LabelSetError."""
    if unknown := set(table) - SET_KEYS:
        raise LabelSetError(f"label set {name}: unknown keys {sorted(unknown)}; known are {sorted(SET_KEYS)}")
    kinds = (ScoreKind.ZERO_SHOT_SIGMOID, ScoreKind.ZERO_SHOT_PAIR)
    if table.get("kind") not in [kind.value for kind in kinds]:
        raise LabelSetError(f"label set {name}: kind must be {' or '.join(kinds)}, found {table.get('kind')!r}")
    kind = ScoreKind(table["kind"])
    labels = tuple(
        _label(f"label set {name}, label {i}", entry, kind) for i, entry in enumerate(table.get("label", ()), 1)
    )
    names = [label.name for label in labels]
    if not labels or len(set(names)) != len(names):
        raise LabelSetError(f"label set {name}: expected labels with different names, found {names}")
    return LabelSet(
        name=name,
        version=str(table.get("version", "1")),
        labels=labels,
        kind=kind,
        source=str(table.get("source", "")),
        licence=str(table.get("licence", "")),
        applies_to=conditions_from(f"label set {name}", table.get("applies_to", [])),
    )


def _label(where: str, entry: Mapping[str, Any], kind: ScoreKind) -> Label:
    if unknown := set(entry) - LABEL_KEYS:
        raise LabelSetError(f"{where}: unknown keys {sorted(unknown)}; known are {sorted(LABEL_KEYS)}")
    name = entry.get("name")
    positive, negative = _texts(where, entry, "positive"), _texts(where, entry, "negative")
    if not isinstance(name, str) or not 1 <= len(name) <= 64:
        raise LabelSetError(f"{where}: name must be a text of 1 to 64 characters")
    if not positive or (kind is ScoreKind.ZERO_SHOT_PAIR and not negative):
        raise LabelSetError(
            f"{where} ({name}): {kind} needs prompts: positive{'' if positive else ' (none found)'} and negative"
        )
    threshold = entry.get("threshold")
    if threshold is not None and not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        raise LabelSetError(f"{where} ({name}): threshold must be a number from 0 to 1, found {threshold!r}")
    return Label(
        name=name,
        positive=positive,
        negative=negative,
        code=_code(where, entry, "code"),
        site=_code(where, entry, "site"),
        modalities=tuple(str(m) for m in entry.get("modalities", ())),
        threshold=float(threshold) if threshold is not None else None,
        applies_to=conditions_from(where, entry.get("applies_to", [])),
    )


def _texts(where: str, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise LabelSetError(f"{where}: {key} must be a prompt or a list of prompts")
    return tuple(texts)


def _code(where: str, entry: Mapping[str, Any], key: str) -> Code | None:
    """A code written as ["value", "scheme", "meaning"]."""
    value = entry.get(key)
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, str) and v for v in value)):
        raise LabelSetError(f'{where}: {key} must be ["value", "scheme", "meaning"], found {value!r}')
    if len(value[0]) > 16 or len(value[1]) > 16 or len(value[2]) > 64:
        raise LabelSetError(f"{where}: {key} is longer than DICOM allows (16, 16 and 64 characters; PS3.3 8.8)")
    return Code(value[0], value[1], value[2])


def _folder() -> Any:
    return resources.files("dicom_pipeline") / "data" / "label_sets"
