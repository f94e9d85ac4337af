"""Read a report back: its scores and provenance as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import MALFORMED, read_value
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.domain import Derivation, FrameKey, ScoreKind, distinct_names, image_name, series_name
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.content import SERIES_SCORE

ALGORITHM_PARAMETER = "111002"
"""(DCM) Algorithm Parameters, as TID 4019 has them."""

TRACKING_IDENTIFIER = "112039"
"""(DCM) Tracking Identifier."""

LIBRARY_GROUP = codes.coded("concept", "image_library_group").value
SUMMARY = codes.coded("concept", "summary").value
FINDING = codes.coded("concept", "finding").value
MODEL_DOMAIN = codes.coded("concept", "model_domain").value
SERIES_GROUP = codes.coded("concept", "group_series").value


@dataclass(frozen=True, slots=True)
class ReportScore:
    """One score of a report.

    derivation: how a series score was aggregated, None for a score of one frame. above_threshold: None where none was set.
    domain: "out_of_domain" or "partly_out_of_domain" where the frames of its group are, or some of them; else "".
    series_name, image_name: the series, and the frame's image in it, for a person; no two of a report are alike.
    """

    label: str
    value: float
    kind: ScoreKind
    derivation: Derivation | None
    frame: FrameKey
    series_instance_uid: str
    above_threshold: bool | None = None
    domain: str = ""
    series_name: str = ""
    image_name: str = ""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report says.

    content_date, content_time, timezone: YYYYMMDD, HHMMSS and &ZZXX, the revision's time.
    parameters: provenance by name. sources: SOP Instance UIDs of the images that were used.
    predecessor: the report before, if any.
    summary: its first lines, for a person; none in reports of earlier versions.
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
    summary: tuple[str, ...] = ()

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
    series, titles = dict(_sources(dataset)), dict[str, str]()
    groups = list(_containers(dataset))
    described, numbers = _library(groups, series)
    parameters = dict(_parameter(item) for group in groups for item in _items(group, "TEXT", ALGORITHM_PARAMETER))
    for group in groups:
        judged = {
            _concept(item)[1:]: _value(item) == codes.coded("concept", "yes").value for item in _judgements(group)
        }
        domain = next((str(codes.key_of("concept", _value(x))) for x in _items(group, "CODE", MODEL_DOMAIN)), "")
        of_series = any(_value(item) == SERIES_GROUP for item in _items(group, "CODE", FINDING))
        for item in _items(group, "NUM"):
            score = _score(item, series, numbers, judged.get(_concept(item)[1:]))
            if of_series and score.derivation is None:
                derivation = parameters.get(f"{SERIES_SCORE} {score.label}") or parameters[SERIES_SCORE]
                score = replace(score, derivation=Derivation(derivation))
            scores.append(replace(score, domain=domain))
            if of_series:
                titles.setdefault(score.series_instance_uid, _title(group))
    before = dataset.get("PredecessorDocumentsSequence")
    return ReportContent(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        revision=int(dataset.InstanceNumber),
        content_date=str(dataset.ContentDate),
        content_time=str(dataset.ContentTime),
        timezone=str(dataset.get("TimezoneOffsetFromUTC", "+0000")),
        scores=_named(scores, titles, described),
        parameters=parameters,
        sources=_images(groups) or tuple(series),
        predecessor=str(before[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        if before
        else None,
        summary=tuple(str(item.TextValue) for item in _items(dataset, "TEXT", SUMMARY)),
    )


def _named(
    scores: Sequence[ReportScore], titles: Mapping[str, str], described: Mapping[str, str]
) -> tuple[ReportScore, ...]:
    """The scores with names of series and images of which no two are alike.

    titles, described: by Series Instance UID, what a group of series scores and what the image library call it.
    """
    uids = dict.fromkeys(score.series_instance_uid for score in scores)
    series = distinct_names({uid: titles.get(uid) or described.get(uid) or series_name("", "", None) for uid in uids})
    images: dict[FrameKey, str] = {}
    for uid in uids:
        images |= distinct_names({s.frame: s.image_name for s in scores if s.series_instance_uid == uid})
    return tuple(replace(s, series_name=series[s.series_instance_uid], image_name=images[s.frame]) for s in scores)


def _title(group: Dataset) -> str:
    """A group's Tracking Identifier; "" in reports of earlier versions, whose identifiers are made of UIDs."""
    text = next((str(item.TextValue) for item in _items(group, "TEXT", TRACKING_IDENTIFIER)), "")
    return "" if text.startswith("AI RESEARCH") else text


def _library(containers: Sequence[Dataset], series: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """Names of series by their UIDs and Instance Numbers by SOP Instance UID, as the image library says them."""
    names, numbers = dict[str, str](), dict[str, int]()
    for group in containers:
        if _concept(group) != LIBRARY_GROUP:
            continue
        for image in _items(group, "IMAGE"):
            uid = str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            if uid in series:
                names[series[uid]] = series_name(
                    "", _said(group, "series_description"), _number(group, "series_number")
                )
            if (number := _number(image, "instance_number")) is not None:
                numbers[uid] = number
    return names, numbers


def _images(containers: Sequence[Dataset]) -> tuple[str, ...]:
    """SOP Instance UIDs of the images in the image library; the evidence has companions of the report too."""
    library = (group for group in containers if _concept(group) == LIBRARY_GROUP)
    images = (image for group in library for image in _items(group, "IMAGE"))
    return tuple(str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for image in images)


def _said(item: Dataset, concept: str) -> str:
    """The text of an item's descriptor, "" where it has none."""
    code = codes.coded("concept", concept).value
    return next((str(child.TextValue) for child in _items(item, "TEXT", code)), "")


def _number(item: Dataset, concept: str) -> int | None:
    text = _said(item, concept)
    return int(text) if text else None


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


def _score(
    item: Dataset, series: Mapping[str, str], numbers: Mapping[str, int], above_threshold: bool | None
) -> ReportScore:
    children: dict[str, Any] = {}
    for child in item.get("ContentSequence") or ():
        if child.ValueType == "SCOORD":  # of the whole frame; the image is that which it was selected from
            child = next(_items(child, "IMAGE"))  # noqa: PLW2901
        children["image" if child.ValueType == "IMAGE" else _concept(child)] = child
    method = _value(children["370129005"])
    kind = codes.key_of("method", method)
    derived = children.get("121401")
    reference = children["image"].ReferencedSOPSequence[0]
    number = reference.get("ReferencedFrameNumber")
    mosaic_slice = children.get(codes.coded("concept", "mosaic_slice").value)
    uid = str(reference.ReferencedSOPInstanceUID)
    frame = int(mosaic_slice.TextValue) if mosaic_slice is not None else int(number or 1)
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
        frame=FrameKey(uid, frame),
        series_instance_uid=series[uid],
        above_threshold=above_threshold,
        image_name=image_name(numbers.get(uid), frame, 2, "slice")
        if mosaic_slice is not None
        else image_name(numbers.get(uid), frame, 2 if number else 1),
    )


def _value(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def _sources(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """SOP Instance UID and Series Instance UID of each piece of evidence."""
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                yield str(reference.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID)
