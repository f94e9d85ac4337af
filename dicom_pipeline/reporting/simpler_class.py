"""The same report as a simpler SR class, for destinations that do not take Comprehensive 3D SR.

The content fits Comprehensive 3D, Comprehensive and Enhanced SR alike, so only the class changes, and with it the UID: it is
named by the original's UID and the class, so the same report converted twice is one object, and the predecessor's
converted UID is known without its file.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pydicom import Dataset

from dicom_pipeline.dicom.uids import uid_of

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"

ORDER: Sequence[str] = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
"""Richest first."""


def classes_for(sop_class_uid: str) -> tuple[str, ...]:
    """The class of an object and the simpler ones it may be sent as; just itself where it is no such report."""
    if sop_class_uid not in ORDER:
        return (sop_class_uid,)
    return tuple(ORDER[ORDER.index(sop_class_uid) :])


def as_class(report: Dataset, sop_class_uid: str) -> Dataset:
    """A copy of the report of another class; the report itself where it already is of that class."""
    if str(report.SOPClassUID) == sop_class_uid:
        return report
    made = copy.deepcopy(report)
    made.SOPClassUID = sop_class_uid
    made.SOPInstanceUID = _converted(str(report.SOPInstanceUID), sop_class_uid)
    for study in made.get("PredecessorDocumentsSequence") or ():
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                if sop_class_uid not in classes_for(str(reference.ReferencedSOPClassUID))[1:]:
                    continue  # the report before was made of this class or a simpler one, and sent as it is
                reference.ReferencedSOPInstanceUID = _converted(str(reference.ReferencedSOPInstanceUID), sop_class_uid)
                reference.ReferencedSOPClassUID = sop_class_uid
    if getattr(made, "file_meta", None) is not None:
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _converted(original_uid: str, sop_class_uid: str) -> str:
    return uid_of("as-class", original_uid, sop_class_uid)
