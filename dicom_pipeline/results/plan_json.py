"""A plan as plain values: the study's entry in plan.json. Its shape is stable; docs/outputs.md describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydicom import Dataset

from dicom_pipeline.domain import Account, Excluded, Frame, Outcome, Plan, SeriesPlan
from dicom_pipeline.reporting import image_name_of, series_names, study_name_of
from dicom_pipeline.scoring import Applicability

PLAN_SCHEMA = "dicom_pipeline/plan/1"


def plan_to_json(
    plan: Plan,
    headers: Mapping[str, Dataset],
    account: Account,
    applicability: Mapping[str, Sequence[Applicability]] | None = None,
) -> dict[str, Any]:
    """The plan with its account: received = used + excluded + failed, to the instance.

    headers: SOP Instance UID -> header, for names that people read; one that is missing costs its number alone.
    applicability: Series Instance UID -> what each of its label sets is to it.
    """
    names = series_names(plan, headers)
    label_sets = applicability or {}
    reasons = Counter(reason.value for _, reason, _ in account.outcomes.values() if reason is not None)
    counts = account.counts
    return {
        "study_instance_uid": plan.study_instance_uid,
        "name": study_name_of(headers),
        "instances": {
            "received": len(account.outcomes),
            "used": counts[Outcome.USED],
            "excluded": counts[Outcome.EXCLUDED],
            "failed": counts[Outcome.FAILED],
            "reasons": dict(sorted(reasons.items())),
        },
        "series": [
            _series(series, names, headers, label_sets.get(series.series_instance_uid, ())) for series in plan.series
        ],
        "excluded": [excluded_to_json(item) for item in plan.excluded],
    }


def _series(
    series: SeriesPlan, names: Mapping[str, str], headers: Mapping[str, Dataset], label_sets: Sequence[Applicability]
) -> dict[str, Any]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "name": names[series.series_instance_uid],
        "modality": series.modality,
        "description": series.description,
        "body_part": series.body_part,
        "preset": series.preset,
        "selection": series.selection,
        "order_note": series.order_note,
        "choice_note": series.choice_note,
        "label_sets": [asdict(each) for each in label_sets],
        "frames": [_frame(frame, headers) for frame in series.frames],
        "excluded": [excluded_to_json(item) for item in series.excluded],
    }


def _frame(frame: Frame, headers: Mapping[str, Dataset]) -> dict[str, Any]:
    return {
        "sop_instance_uid": frame.key.sop_instance_uid,
        "frame": frame.key.frame,
        "name": image_name_of(frame.key, headers),
        "position_mm": frame.position_mm,
        "stack": frame.stack,
    }


def excluded_to_json(item: Excluded) -> dict[str, Any]:
    """One thing that is not used, with its reason as a code and as a sentence."""
    return {
        "sop_instance_uid": item.sop_instance_uid,
        "frame": item.frame,
        "reason": item.reason.value,
        "outcome": item.reason.outcome.value,
        "sentence": item.reason.sentence,
        "detail": item.detail,
        "file": item.path.name if not item.sop_instance_uid else "",
    }
