"""Read a report back: its scores and provenance as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import MALFORMED, read_value
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.domain import Derivation, FrameKey, ScoreKind
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.content import SERIES_SCORE

ALGORITHM_PARAMETER = "111002"
"""(DCM) Algorithm Parameters, as TID 4019 has them."""

FINDING = codes.coded("concept", "finding").value
MODEL_DOMAIN = codes.coded("concept", "model_domain").value
SERIES_GROUP = codes.coded("concept", "group_series").value


@dataclass(frozen=True, slots=True)
class ReportScore:
    """One score of a report.

    derivation: how a series score was aggregated, None for a score of one frame. above_threshold: None where none was set.
    domain: "out_of_domain" or "partly_out_of_domain" where the frames of its group are, or some of them; else "".
    """

    label: str
    value: float
    kind: ScoreKind
    derivation: Derivation | None
    frame: FrameKey
    series_instance_uid: str
    above_threshold: bool | None = None
    domain: str = ""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report says.

    content_date, content_time, timezone: YYYYMMDD, HHMMSS and &ZZXX, the revision's time.
    parameters: provenance by name. sources: SOP Instance UIDs of the evidence. predecessor: the report before, if any.
    """

    sop_instance_uid: str
    study_instance_uid: str
    revision: int
    content_date: str
    content_time: str
    timezone: str
    scores: tuple[ReportScore, ...]
    parameters: dict[str, str]
    sources: tuple[str, ...]
    predecessor: str | None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the settings that made the scores."""
        return self.parameters.get("fingerprint", "")


def read_report(dataset: Dataset) -> ReportContent:
    """The values of a report of ours. Raises ReportError for any other object, and for a report that lacks what we write."""
    modality = read_value(dataset, "Modality")
    if not is_own_object(dataset):
        raise ReportError(
            f"this is not a report made by dicom_pipeline: expected its Device UID in Contributing Equipment, found "
            f"{'an object' if modality is None else f'a {modality} object'} of another maker"
        )
    if modality != "SR":
        raise ReportError(
            f"this is not a report but a companion of one, made by dicom_pipeline: expected SR, found {modality}"
        )
    try:
        return _content(dataset)
    except MALFORMED as error:
        raise ReportError(f"this report made by dicom_pipeline is damaged or of a newer version: {error}") from error


def _content(dataset: Dataset) -> ReportContent:
    scores: list[ReportScore] = []
    series = dict(_sources(dataset))
    groups = list(_containers(dataset))
    parameters = dict(_parameter(item) for group in groups for item in _items(group, "TEXT", ALGORITHM_PARAMETER))
    for group in groups:
        judged = {
            _concept(item)[1:]: _value(item) == codes.coded("concept", "yes").value for item in _judgements(group)
        }
        domain = next((str(codes.key_of("concept", _value(x))) for x in _items(group, "CODE", MODEL_DOMAIN)), "")
        of_series = any(_value(item) == SERIES_GROUP for item in _items(group, "CODE", FINDING))
        for item in _items(group, "NUM"):
            score = _score(item, series, judged.get(_concept(item)[1:]))
            if of_series and score.derivation is None:
                derivation = parameters.get(f"{SERIES_SCORE} {score.label}") or parameters[SERIES_SCORE]
                score = replace(score, derivation=Derivation(derivation))
            scores.append(replace(score, domain=domain))
    before = dataset.get("PredecessorDocumentsSequence")
    return ReportContent(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        revision=int(dataset.InstanceNumber),
        content_date=str(dataset.ContentDate),
        content_time=str(dataset.ContentTime),
        timezone=str(dataset.get("TimezoneOffsetFromUTC", "+0000")),
        scores=tuple(scores),
        parameters=parameters,
        sources=tuple(series),
        predecessor=str(before[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        if before
        else None,
    )


def _containers(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence") or ():
        if child.ValueType == "CONTAINER":
            yield from _containers(child)


def _items(group: Dataset, value_type: str, concept: str = "") -> Iterator[Dataset]:
    """A group's own items of a value type and, where given, a concept."""
    for item in group.get("ContentSequence") or ():
        if item.ValueType == value_type and (not concept or _concept(item) == concept):
            yield item


def _parameter(item: Dataset) -> tuple[str, str]:
    name, _, value = str(item.TextValue).partition("=")
    return name, value


def _judgements(group: Dataset) -> Iterator[Dataset]:
    """The items of a group that say whether a score is above its label's threshold."""
    return (item for item in _items(group, "CODE") if _concept(item).startswith("T-"))


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _score(item: Dataset, series: Mapping[str, str], above_threshold: bool | None) -> ReportScore:
    children: dict[str, Any] = {}
    for child in item.get("ContentSequence") or ():
        if child.ValueType == "SCOORD":  # of the whole frame; the image is that which it was selected from
            child = next(_items(child, "IMAGE"))  # noqa: PLW2901
        children["image" if child.ValueType == "IMAGE" else _concept(child)] = child
    method = _value(children["370129005"])
    kind = codes.key_of("method", method)
    derived = children.get("121401")
    reference = children["image"].ReferencedSOPSequence[0]
    number = reference.get("ReferencedFrameNumber") or 1
    if kind is None:
        raise ReportError(f"a score has a method that this version does not know: {method}")
    value = float(item.MeasuredValueSequence[0].NumericValue)
    if not math.isfinite(value):
        raise ReportError(f"a score is not a finite number: {value}")
    in_full = children.get(codes.coded("concept", "comment").value)
    return ReportScore(
        label=str(in_full.TextValue)
        if in_full is not None
        else str(item.ConceptNameCodeSequence[0].CodeMeaning).removeprefix(codes.SCORE_FOR),
        value=value,
        kind=ScoreKind(kind),
        derivation=Derivation(str(codes.key_of("derivation", _value(derived)))) if derived is not None else None,
        frame=FrameKey(str(reference.ReferencedSOPInstanceUID), int(number)),
        series_instance_uid=series[str(reference.ReferencedSOPInstanceUID)],
        above_threshold=above_threshold,
    )


def _value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def _sources(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """SOP Instance UID and Series Instance UID of each piece of evidence."""
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                yield str(reference.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID)
