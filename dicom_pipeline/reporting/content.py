"""The content tree of a report: TID 1500 Measurement Report (PS3.16), built with highdicom.

One measurement group a series (its series scores), one a key frame (its frame scores). Each score is a NUM with method,
derivation and the frame that made it; the label's own code stands below as what is scored, never as what is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.enum import RelationshipTypeValues
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom import own_objects
from dicom_pipeline.dicom.uids import DEVICE_UID, uid_of
from dicom_pipeline.domain import FrameKey, Label, LabelSet, Plan, Provenance, Revision, Score, SeriesPlan, digest_of
from dicom_pipeline.reporting import codes, equipment
from dicom_pipeline.reporting.evidence import frame_number_of

STATEMENT = "Research use only, not for diagnosis."


def content(
    revision: Revision,
    plan: Plan,
    headers: Mapping[str, Dataset],
    scores: Sequence[Score],
    label_set: LabelSet,
    provenance: Provenance,
    key_frames: int,
) -> Dataset:
    """The root content item. headers: cleaned headers by SOP Instance UID."""
    labels = {label.name: label for label in label_set.labels}
    algorithm = AlgorithmIdentification(
        name=own_objects.MODEL_NAME,
        version=equipment.version_of(provenance),
        parameters=parameters(provenance),
        family=codes.coded("concept", "artificial_intelligence"),
    )
    groups = []
    for series in plan.series:
        if series.frames:
            groups += _series_groups(revision, series, headers, scores, labels, algorithm, key_frames)
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
    return root


def parameters(provenance: Provenance) -> list[str]:
    """Everything that made the numbers, as algorithm parameters `name=value`."""
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


def _series_groups(
    revision: Revision,
    series: SeriesPlan,
    headers: Mapping[str, Dataset],
    scores: Sequence[Score],
    labels: Mapping[str, Label],
    algorithm: AlgorithmIdentification,
    key_frames: int,
) -> list[MeasurementsAndQualitativeEvaluations]:
    mine = [s for s in scores if s.series_instance_uid == series.series_instance_uid]
    aggregated = [s for s in mine if s.derivation is not None]
    keys = key_frames_of(mine, series.series_instance_uid, key_frames)
    sets = [("series", series.series_instance_uid, aggregated, tuple(dict.fromkeys(s.frame for s in aggregated)))]
    sets += [("frame", _frame_id(k), [s for s in mine if s.frame == k and s.derivation is None], (k,)) for k in keys]
    return [
        _group(kind, name, revision, members, frames, headers, labels, algorithm)
        for kind, name, members, frames in sets
        if members
    ]


def _group(
    kind: str,
    name: str,
    revision: Revision,
    scores: Sequence[Score],
    frames: Sequence[FrameKey],
    headers: Mapping[str, Dataset],
    labels: Mapping[str, Label],
    algorithm: AlgorithmIdentification,
) -> MeasurementsAndQualitativeEvaluations:
    identity = (kind, name, str(revision.number), digest_of(dict(revision.instances)))
    measured = [_measurement(score, labels[score.label], headers) for score in scores]
    above = [s for s in scores if (t := labels[s.label].threshold) is not None and s.value >= t]
    judged = [s for s in scores if labels[s.label].threshold is not None]
    evaluations = [
        QualitativeEvaluation(
            codes.threshold_concept(labels[s.label]),
            codes.coded("concept", "yes" if s in above else "no"),
        )
        for s in judged
    ]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid_of("tracking", *identity), f"AI RESEARCH {kind} {name[-24:]}"),
        finding_type=codes.coded("concept", f"group_{kind}"),
        algorithm_id=algorithm,
        measurements=measured,
        qualitative_evaluations=evaluations or None,
        source_images=[SourceImageForMeasurementGroup(*_reference(key, headers)) for key in frames],
    )


def _measurement(score: Score, label: Label, headers: Mapping[str, Dataset]) -> Measurement:
    site = codes.site_concept(label)
    measurement = Measurement(
        name=codes.score_concept(label),
        value=float(f"{score.value:.6g}"),  # six digits that count, for a sigmoid may be 0.0000123
        unit=codes.coded("concept", "no_units"),
        derivation=codes.coded("derivation", score.derivation.value) if score.derivation else None,
        finding_sites=[FindingSite(site)] if site else None,
        method=codes.coded("method", score.kind.value),
        referenced_images=[SourceImageForMeasurement(*_reference(score.frame, headers))],
    )
    scored = codes.label_concept(label)
    if scored is not None:
        item = CodeContentItem(
            codes.coded("concept", "finding"), scored, relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD
        )
        measurement[0].ContentSequence = DicomSequence([*measurement[0].ContentSequence, item])
    if codes.is_shortened(label):
        name = TextContentItem(
            codes.coded("concept", "comment"), label.name, relationship_type=RelationshipTypeValues.HAS_PROPERTIES
        )
        measurement[0].ContentSequence = DicomSequence([*measurement[0].ContentSequence, name])
    return measurement


def _reference(key: FrameKey, headers: Mapping[str, Dataset]) -> tuple[str, str, list[int] | None]:
    """SOP class, instance and (for multi-frame objects) frame number of a reference."""
    header = headers[key.sop_instance_uid]
    number = frame_number_of(header, key)
    return str(header.SOPClassUID), key.sop_instance_uid, None if number is None else [number]


def _frame_id(key: FrameKey) -> str:
    return f"{key.sop_instance_uid}#{key.frame}"


def _procedures(plan: Plan) -> list[CodedConcept]:
    found = {p.value: p for p in (codes.procedure(s.modality) for s in plan.series if s.frames)}
    return [found[value] for value in sorted(found)]
