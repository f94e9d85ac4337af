"""The report: one DICOM Structured Report of one revision, the same bytes for the same revision and fingerprint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone

from highdicom.sr import Comprehensive3DSR, ComprehensiveSR, EnhancedSR
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage

from dicom_pipeline.dicom import own_objects
from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.dicom.part10 import named
from dicom_pipeline.dicom.uids import CODING_SCHEME_UID, report_series_uid, uid_of
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import FrameDomain, FrameKey, LabelSet, Plan, Provenance, Revision, Score
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import codes, equipment
from dicom_pipeline.reporting.content import content, key_frames_of
from dicom_pipeline.reporting.evidence import (
    Identity,
    clean_header,
    copy_frames,
    evidence_sequence,
    identity_of,
    referenced_requests,
    timezone_of,
    without_series_time,
)
from dicom_pipeline.reporting.image_library import add_image_library
from dicom_pipeline.reporting.simpler_class import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR
from dicom_pipeline.reporting.summary import STATEMENT, add_summary

SR_CLASSES = {
    COMPREHENSIVE_3D_SR: Comprehensive3DSR,
    COMPREHENSIVE_SR: ComprehensiveSR,
    ENHANCED_SR: EnhancedSR,
}
"""The classes that can carry the report, richest first: the order in which a destination's wishes are met."""

SERIES_NUMBER = 9801
SERIES_DESCRIPTION = "AI RESEARCH - zero-shot label scores"


def build_report(
    revision: Revision,
    plan: Plan,
    headers: Mapping[str, Dataset],
    scores: Sequence[Score],
    label_set: LabelSet,
    provenance: Provenance,
    *,
    sop_class_uid: str = COMPREHENSIVE_3D_SR,
    key_frames: int = 3,
    domains: Mapping[FrameKey, FrameDomain] | None = None,
) -> Dataset:
    """The SR data set of a revision. headers: SOP Instance UID -> data set without pixels; they are not changed.
    domains: what the reference of the checkpoint says of frames.

    Raises ReportError where there is nothing to report or an instance lacks its identity.
    """
    used = list(dict.fromkeys(frame.key.sop_instance_uid for frame in plan.frames))
    if not used or not scores:
        raise ReportError("a report needs at least one used frame with a score")
    if not all(math.isfinite(score.value) for score in scores):
        raise ReportError("a score is not a finite number, so no valid report can state it")
    shown = {used[0]} | {score.frame.sop_instance_uid for score in scores if score.derivation is not None}
    for series in plan.series:
        shown |= {key.sop_instance_uid for key in key_frames_of(scores, series.series_instance_uid, key_frames)}
    instances = {uid: identity_of(headers[uid], uid) for uid in used}
    clean = {uid: _cleaned(headers[uid], instances[uid]) for uid in used if uid in shown}
    root = content(plan, clean, scores, label_set, provenance, key_frames, domains or {})
    first = clean[used[0]]
    with suppress_warnings():  # highdicom remarks on names without components; they are as received
        report: Dataset = SR_CLASSES[sop_class_uid](
            evidence=[_as_ct(first)],
            content=_bare(root),  # highdicom would copy and search the tree, a third of all the time
            series_instance_uid=report_series_uid(revision.study_instance_uid),
            series_number=SERIES_NUMBER,
            sop_instance_uid=uid_of("not yet known"),
            instance_number=revision.number,
            manufacturer=own_objects.MANUFACTURER,
            is_complete=True,
            is_verified=False,
            specific_character_set="ISO_IR 192",
        )
    report.ContentSequence = root.ContentSequence
    _finish(report, first, headers[used[0]], revision, provenance)
    add_summary(report, plan, scores, clean, provenance.notice)
    add_image_library(report, plan, instances, clean)
    report.CurrentRequestedProcedureEvidenceSequence = evidence_sequence(instances.values())
    if "PertinentOtherEvidenceSequence" in report:
        del report.PertinentOtherEvidenceSequence
    return named(report)


def with_companions(report: Dataset, companions: Sequence[Dataset]) -> Dataset:
    """The report with what was made beside it among its evidence, and so with another UID.

    Current Requested Procedure Evidence has "the full set of Composite SOP Instances, of which the creator is aware, which
    were created to satisfy the current Requested Procedure(s)" (PS3.3 C.17.2).
    """
    if not companions:
        return report
    made = Dataset(report)
    (study,) = made.CurrentRequestedProcedureEvidenceSequence
    known = [
        Identity(
            str(study.StudyInstanceUID),
            str(s.SeriesInstanceUID),
            str(r.ReferencedSOPClassUID),
            str(r.ReferencedSOPInstanceUID),
        )
        for s in study.ReferencedSeriesSequence
        for r in s.ReferencedSOPSequence
    ]
    beside = [
        Identity(str(c.StudyInstanceUID), str(c.SeriesInstanceUID), str(c.SOPClassUID), str(c.SOPInstanceUID))
        for c in companions
    ]
    made.CurrentRequestedProcedureEvidenceSequence = evidence_sequence([*known, *beside])
    return named(made)


def _finish(report: Dataset, first: Dataset, source: Dataset, revision: Revision, provenance: Provenance) -> None:
    """Flags, equipment and times; every time is the revision's, none is the clock's."""
    offset = timezone_of(source)
    moment = _local(revision.created_at, offset)
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    report.ContentDate, report.ContentTime = date, time
    report.InstanceCreationDate, report.InstanceCreationTime = date, time
    without_series_time(report)
    if offset:
        report.TimezoneOffsetFromUTC = offset
    elif "TimezoneOffsetFromUTC" in report:
        del report.TimezoneOffsetFromUTC
    report.SeriesDescription = SERIES_DESCRIPTION
    report.ContentQualification = "RESEARCH"
    report.CompletionFlagDescription = "Automated research result; not reviewed; not for diagnostic use"
    report.PreliminaryFlag = "PRELIMINARY"
    report.Manufacturer = own_objects.MANUFACTURER
    report.ManufacturerModelName = own_objects.MODEL_NAME
    report.SoftwareVersions = equipment.version_of(provenance)
    report.DeviceSerialNumber = provenance.fingerprint[:16]
    report.ContributingEquipmentSequence = equipment.contributing_equipment(provenance)
    report.CodingSchemeIdentificationSequence = codes.scheme_identification(CODING_SCHEME_UID)
    if requests := referenced_requests(source, revision.study_instance_uid):
        report.ReferencedRequestSequence = requests
    for keyword in ("IssuerOfPatientID", "StudyDescription"):
        if keyword in first:
            setattr(report, keyword, first.get(keyword))
    if revision.predecessor:
        report.PredecessorDocumentsSequence = _predecessor(
            revision, revision.predecessor_class or str(report.SOPClassUID)
        )


def _predecessor(revision: Revision, sop_class_uid: str) -> DicomSequence:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, revision.predecessor
    series = Dataset()
    series.SeriesInstanceUID = report_series_uid(revision.study_instance_uid)
    series.ReferencedSOPSequence = DicomSequence([reference])
    item = Dataset()
    item.StudyInstanceUID = revision.study_instance_uid
    item.ReferencedSeriesSequence = DicomSequence([series])
    return DicomSequence([item])


def _cleaned(source: Dataset, identity: Identity) -> Dataset:
    """The clean header of an instance that the content refers to."""
    clean = clean_header(source)
    clean.SOPInstanceUID = identity.sop_instance
    copy_frames(source, clean)
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if (number := integer_of(source, keyword)) is not None and abs(number) < 2**31:
            setattr(clean, keyword, number)
    return clean


def _as_ct(clean: Dataset) -> Dataset:
    """A copy that claims to be a CT image: highdicom looks modules up by class and knows no private or retired ones.

    It takes patient and study from it, the same for every image class; the references are written from the true classes.
    """
    copied = Dataset(clean)
    copied.SOPClassUID = CTImageStorage
    return copied


def _bare(root: Dataset) -> Dataset:
    """The root content item without what is below it."""
    bare = Dataset({element.tag: element for element in root if element.keyword != "ContentSequence"})
    bare.ContentSequence = DicomSequence()
    return bare


def _local(moment: datetime, offset: str) -> datetime:
    """The moment in the source's time zone, in UTC where the source states none."""
    if not offset:
        return moment.astimezone(UTC)
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return moment.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


__all__ = [
    "COMPREHENSIVE_3D_SR",
    "COMPREHENSIVE_SR",
    "ENHANCED_SR",
    "SR_CLASSES",
    "STATEMENT",
    "build_report",
    "with_companions",
]
