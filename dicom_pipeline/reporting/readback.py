"""Read a report back: its scores and provenance as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from dicom_pipeline.domain import Derivation, FrameKey, ScoreKind
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.equipment import is_own_object


@dataclass(frozen=True, slots=True)
class ReportScore:
    """One score of a report. derivation: how a series score was joined, None for a score of one frame."""

    label: str
    value: float
    kind: ScoreKind
    derivation: Derivation | None
    frame: FrameKey


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report says.

    parameters: provenance by name. sources: SOP Instance UIDs of the evidence. predecessor: the report before, if any.
    """

    sop_instance_uid: str
    study_instance_uid: str
    revision: int
    content_date: str
    content_time: str
    scores: tuple[ReportScore, ...]
    parameters: dict[str, str]
    sources: tuple[str, ...]
    predecessor: str | None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the settings that made the scores."""
        return self.parameters.get("fingerprint", "")


def read_report(dataset: Dataset) -> ReportContent:
    """The values of a report of ours. Raises ReportError for any other object."""
    if not is_own_object(dataset) or dataset.get("Modality") != "SR":
        raise ReportError("this is no report made by dicom_pipeline")
    scores: list[ReportScore] = []
    parameters: dict[str, str] = {}
    for item in _walk(dataset):
        if item.ValueType == "NUM":
            scores.append(_score(item))
        elif item.ValueType == "TEXT" and _concept(item) == "111002":
            name, _, value = str(item.TextValue).partition("=")
            parameters[name] = value
    before = dataset.get("PredecessorDocumentsSequence")
    return ReportContent(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        revision=int(dataset.InstanceNumber),
        content_date=str(dataset.ContentDate),
        content_time=str(dataset.ContentTime),
        scores=tuple(scores),
        parameters=parameters,
        sources=tuple(_sources(dataset)),
        predecessor=str(before[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        if before
        else None,
    )


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        yield child
        yield from _walk(child)


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _score(item: Dataset) -> ReportScore:
    children: dict[str, Any] = {}
    for child in item.get("ContentSequence") or ():
        children["image" if child.ValueType == "IMAGE" else _concept(child)] = child
    kind = codes.key_of("method", _value(children["370129005"]))
    derived = children.get("121401")
    reference = children["image"].ReferencedSOPSequence[0]
    number = reference.get("ReferencedFrameNumber") or 1
    if kind is None:
        raise ReportError("a score has a method that this version does not know")
    return ReportScore(
        label=str(item.ConceptNameCodeSequence[0].CodeMeaning).removeprefix("Score for "),
        value=float(item.MeasuredValueSequence[0].NumericValue),
        kind=ScoreKind(kind),
        derivation=Derivation(str(codes.key_of("derivation", _value(derived)))) if derived is not None else None,
        frame=FrameKey(str(reference.ReferencedSOPInstanceUID), int(number)),
    )


def _value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def _sources(dataset: Dataset) -> Iterator[str]:
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                yield str(reference.ReferencedSOPInstanceUID)
