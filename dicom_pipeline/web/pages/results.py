"""What a revision left in the spool, as a page shows it: names for people, its report, its series scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_pipeline.catalog.browsing.study_history import MadeObject
from dicom_pipeline.dicom.own_objects import object_kind
from dicom_pipeline.domain import Level, score_text
from dicom_pipeline.errors import ReportError
from dicom_pipeline.results.record import result_folder
from dicom_pipeline.results.score_rows import read_scores

if TYPE_CHECKING:
    from dicom_pipeline.reporting import ReportContent

log = logging.getLogger(__name__)

CHANGE = 0.0005
"""A score that differs by less looks the same with three digits."""


@dataclass(frozen=True, slots=True)
class Named:
    """What plan.json calls things. study: empty where no plan was written. series: by Series Instance UID."""

    study: str = ""
    series: Mapping[str, str] = field(default_factory=dict)


def folder_of(spool: Path, study_instance_uid: str, number: int) -> Path:
    """Where the results of a revision lie."""
    return spool / result_folder(study_instance_uid, number)


def names_in(folder: Path) -> Named:
    """The names in a result folder's plan.json; none where there is no plan, or it is of an earlier version."""
    try:
        (plan,) = json.loads((folder / "plan.json").read_bytes())["studies"]
        return Named(plan["name"], {each["series_instance_uid"]: each["name"] for each in plan["series"]})
    except FileNotFoundError:
        return Named()
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("a plan is shown without names: %s", type(error).__name__)
        return Named()


def report_in(spool: Path, objects: Sequence[MadeObject], number: int) -> ReportContent | None:
    """The report of a revision as values; None where it has none, or it cannot be read."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from dicom_pipeline.reporting import read_report

    made = next(
        (each for each in objects if each.number == number and object_kind(each.sop_class_uid) == "report"), None
    )
    if made is None:
        return None
    try:
        return read_report(dcmread(spool / made.path))
    except (OSError, InvalidDicomError, ReportError) as error:
        log.warning("a report cannot be shown: %s", type(error).__name__)
        return None


def series_scores(folder: Path) -> dict[tuple[str, str, str], float]:
    """Series Instance UID, label and kind -> score, of a result folder; empty where it has no scores."""
    try:
        return {
            (row.series_instance_uid, row.label, row.kind.value): row.value
            for row in read_scores(folder / "scores.csv")
            if row.level is Level.SERIES
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("scores cannot be shown: %s", type(error).__name__)
        return {}


def compared(spool: Path, study: str, numbers: Sequence[int], names: Named) -> list[dict[str, Any]]:
    """A line a series and label: its score in each of these revisions, and whether it differs from the one before.

    Those that changed most first.
    """
    columns = [series_scores(folder_of(spool, study, number)) for number in numbers]
    lines = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key) for column in columns]
        pairs = list(pairwise(values))
        steps = [abs(b - a) for a, b in pairs if a is not None and b is not None]
        series, label, kind = key
        lines.append(
            {
                "series": names.series.get(series, series),
                "label": label,
                "kind": kind,
                "values": [None if value is None else score_text(value) for value in values],
                "changed": [False, *(a is not None and b is not None and abs(b - a) >= CHANGE for a, b in pairs)],
                "step": max(steps, default=0.0),
            }
        )
    return sorted(lines, key=lambda line: -line["step"])
