"""Truth tables: a CSV with a row an instance, series or study and a column a label.

Key columns, the finest one that is there counts: sop_instance_uid (with frame, if the column is there),
series_instance_uid, study_instance_uid. `patient` (or patient_id), where given, keeps a patient's rows on one side of
every split. Values: 1, 0, true, false, yes, no; empty, -1 (uncertain) and `unknown` are left out.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Level
from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.probes.embeddings import KEYS
from dicom_pipeline.results.csv_files import restore_formulas

PATIENT_COLUMNS = ("patient", "patient_id")
OTHER_COLUMNS = ("site", "split", *PATIENT_COLUMNS)
VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0", "unknown", "nan"), np.nan),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """level: what a row is. rows: key -> label -> 1, 0 or NaN. patients, sites: key -> name, "" where the file has none."""

    level: Level
    labels: tuple[str, ...]
    rows: dict[tuple[object, ...], dict[str, float]]
    patients: dict[tuple[object, ...], str]
    sites: dict[tuple[object, ...], str]

    def column(self, label: str, keys: tuple[tuple[object, ...], ...]) -> npt.NDArray[np.float64]:
        """One label for some keys: float64 (N,), NaN where the truth is not known."""
        return np.array([self.rows.get(key, {}).get(label, np.nan) for key in keys])

    def groups(self, keys: tuple[tuple[object, ...], ...], otherwise: list[str]) -> npt.NDArray[np.str_]:
        """For each key who must stay on one side of a split: the patient, or what `otherwise` names (the study)."""
        return np.array([self.patients.get(key) or other for key, other in zip(keys, otherwise, strict=True)])


def read_truth(path: Path) -> Truth:
    """A truth table. Raises UsageError that names the row and column that it cannot read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = [restore_formulas(name) for name in reader.fieldnames or ()]  # as scores.csv has labels
            columns, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the truth table {path}: {type(error).__name__}") from error
    level = next((name for name, key in KEYS.items() if set(key) <= set(columns)), None)
    if level is None:
        raise UsageError(f"{path} has none of the columns sop_instance_uid, series_instance_uid, study_instance_uid")
    uid_columns = {column for key in KEYS.values() for column in key}
    labels = tuple(c for c in columns if c not in uid_columns and c not in OTHER_COLUMNS)
    if not labels:
        raise UsageError(f"{path} has no label column beside {', '.join(columns)}")
    truth = Truth(level, labels, {}, {}, {})
    for number, line in enumerate(lines, 2):
        key: tuple[object, ...] = tuple(int(line[c] or 1) if c == "frame" else line[c].strip() for c in KEYS[level])
        truth.rows[key] = {label: _value(path, number, label, line[label]) for label in labels}
        truth.patients[key] = next((line[c].strip() for c in PATIENT_COLUMNS if line.get(c)), "")
        truth.sites[key] = (line.get("site") or "").strip()
    return truth


def _value(path: Path, number: int, label: str, text: str | None) -> float:
    try:
        return float(VALUES[(text or "").strip().lower()])
    except KeyError as error:
        raise UsageError(f"{path}, line {number}, column {label}: expected 1, 0 or nothing") from error
