"""The content tree of a report: TID 1500 Measurement Report (PS3.16), built with highdicom.

One measurement group a series (its series scores), one a key frame (its frame scores). Each score is a NUM with its method
and the frame that made it; the label's own code stands below as what is scored, never as what is found. How series scores
were aggregated stands once, among the algorithm parameters of the first group, with everything else that made the numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset

from dicom_pipeline.dicom import own_objects
from dicom_pipeline.dicom.uids import DEVICE_UID, uid_of
from dicom_pipeline.domain import (
    FrameDomain,
    FrameKey,
    Label,
    LabelSet,
    Plan,
    Provenance,
    Score,
    SeriesPlan,
)
from dicom_pipeline.reporting import codes, equipment
from dicom_pipeline.reporting.domain_mark import domain_evaluations
from dicom_pipeline.reporting.evidence import LO, printable
from dicom_pipeline.reporting.measurements import in_report_order, measurement, ranks_of, references
from dicom_pipeline.reporting.names import image_name_of, series_names
from dicom_pipeline.reporting.summary import STATEMENT

SERIES_SCORE = "series_score"
"""The parameter that says how frame scores became series scores; with a label's name behind it, for that label alone."""


def content(
    plan: Plan,
    headers: Mapping[str, Dataset],
    scores: Sequence[Score],
    label_set: LabelSet,
    provenance: Provenance,
    key_frames: int,
    domains: Mapping[FrameKey, FrameDomain],
) -> Dataset:
    """The root content item. headers: cleaned headers by SOP Instance UID. domains: what is said of frames."""
    labels = {label.name: label for label in label_set.labels}
    titles = series_names(plan, headers)
    parts: list[_Part] = []
    for series in plan.series:
        if series.frames:
            parts += _parts(series, titles[series.series_instance_uid], headers, scores, key_frames)
    ranks = ranks_of([score for part in parts for score in part.scores])
    everything, groups = parameters(provenance, scores), list[MeasurementsAndQualitativeEvaluations]()
    for part in parts:
        stated = everything if not groups else everything[-1:]
        algorithm = AlgorithmIdentification(
            name=equipment.model_name(provenance),
            version=equipment.model_version(provenance),
            parameters=stated,
            family=codes.coded("concept", "artificial_intelligence"),
        )
        marks = domain_evaluations(part.frames, domains)
        groups.append(_group(part, in_report_order(part.scores, ranks), headers, labels, algorithm, marks))
    device = DeviceObserverIdentifyingAttributes(
        uid=DEVICE_UID,
        name=own_objects.MODEL_NAME,
        manufacturer_name=own_objects.MANUFACTURER,
        model_name=own_objects.MODEL_NAME,
    )
    observer = ObserverContext(CodedConcept("121007", "DCM", "Device"), device)
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=_procedures(plan),
        imaging_measurements=groups,
        title=CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    root: Dataset = report[0]
    _separate(root)
    return root


def _separate(item: Dataset) -> None:
    """Content as items of their own, not as one run of text, in which viewers leave the items' names out (PS3.3 C.18.8)."""
    item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence") or ():
        if child.ValueType == "CONTAINER":
            _separate(child)


def parameters(provenance: Provenance, scores: Sequence[Score]) -> list[str]:
    """Everything that made the numbers, as algorithm parameters `name=value`; the fingerprint comes last."""
    derived = {score.label: score.derivation.value for score in scores if score.derivation is not None}
    common = Counter(derived.values()).most_common(1)
    values = {
        "statement": STATEMENT,
        "notice": provenance.notice,
        "encoder": provenance.encoder,
        "weights": provenance.weights,
        "precision": provenance.precision,
        **{f"preset {name}": digest for name, digest in sorted(provenance.presets.items())},
        "selection": provenance.selection,
        "label_set": provenance.label_set,
        "label_set_digest": provenance.label_set_digest,
        "software": provenance.software,
        "build": provenance.build,
        "versions": "; ".join(f"{name} {version}" for name, version in provenance.versions.items()),
        **{f"extra {name}": value for name, value in sorted(provenance.extra.items())},
        **({SERIES_SCORE: common[0][0]} if common else {}),
        **{f"{SERIES_SCORE} {label}": value for label, value in derived.items() if value != common[0][0]},
        "fingerprint": provenance.fingerprint,
    }
    return [f"{name}={value}" for name, value in values.items() if value]


def key_frames_of(scores: Sequence[Score], series_uid: str, count: int) -> list[FrameKey]:
    """The frames of a series with the highest score of any label, highest first."""
    best: dict[FrameKey, float] = {}
    for score in scores:
        if score.series_instance_uid == series_uid and score.derivation is None:
            best[score.frame] = max(best.get(score.frame, 0.0), score.value)
    return sorted(best, key=lambda key: (-best[key], key))[:count]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one group tells. kind: series or frame; name: of its series or frame, by UIDs; title: the same for a person.

    frames: those that its scores come from.
    """

    kind: str
    name: str
    title: str
    scores: Sequence[Score]
    frames: Sequence[FrameKey]


def _parts(
    series: SeriesPlan, title: str, headers: Mapping[str, Dataset], scores: Sequence[Score], key_frames: int
) -> list[_Part]:
    """The groups of a series: its own scores, then each key frame's. title: the series for a person."""
    uid = series.series_instance_uid
    mine = [s for s in scores if s.series_instance_uid == uid]
    aggregated = [s for s in mine if s.derivation is not None]
    parts = [_Part("series", uid, title, aggregated, tuple(dict.fromkeys(s.frame for s in aggregated)))]
    for key in key_frames_of(mine, uid, key_frames):
        own = [s for s in mine if s.frame == key and s.derivation is None]
        parts.append(_Part("frame", _frame_id(key), f"{title}, {image_name_of(key, headers)}", own, (key,)))
    return [part for part in parts if part.scores]


def _group(
    part: _Part,
    scores: Sequence[Score],
    headers: Mapping[str, Dataset],
    labels: Mapping[str, Label],
    algorithm: AlgorithmIdentification,
    marks: Sequence[QualitativeEvaluation],
) -> MeasurementsAndQualitativeEvaluations:
    """One measurement group. scores: those of the part, in the report's order.

    A viewer draws all values of a group on the frame of its first, so that alone is given as a region.
    """
    first = scores[0].frame
    measured = [measurement(s, labels[s.label], headers, as_region=s.frame == first) for s in scores]
    evaluations = [
        QualitativeEvaluation(
            codes.threshold_concept(labels[s.label]), codes.coded("concept", "yes" if s.value >= threshold else "no")
        )
        for s in scores
        if (threshold := labels[s.label].threshold) is not None
    ]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid_of("tracking", part.kind, part.name), printable(part.title, LO)),
        finding_type=codes.coded("concept", f"group_{part.kind}"),
        algorithm_id=algorithm,
        measurements=measured,
        qualitative_evaluations=[*evaluations, *marks] or None,
        source_images=[SourceImageForMeasurementGroup(*of) for of in references(part.frames, headers)],
    )


def _frame_id(key: FrameKey) -> str:
    return f"{key.sop_instance_uid}#{key.frame}"


def _procedures(plan: Plan) -> list[CodedConcept]:
    found = {p.value: p for p in (codes.procedure(s.modality) for s in plan.series if s.frames)}
    return [found[value] for value in sorted(found)]
