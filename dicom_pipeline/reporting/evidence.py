"""The instances that a report speaks of: clean, small copies of their headers.

Source tags are as hospitals send them: missing, empty, too long, in any character set. What a report needs of them is
read one by one, cut to what DICOM allows, and left empty where it makes no sense; nothing is shared with the source, for
highdicom would otherwise write into it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import UID
from pydicom.valuerep import PersonName

from dicom_pipeline.errors import ReportError

LO, SH, PN = 64, 16, 64
"""Longest values in characters (PS3.5 6.2)."""

TEXTS: Mapping[str, int] = {
    "PatientID": LO,
    "IssuerOfPatientID": LO,
    "StudyID": SH,
    "AccessionNumber": SH,
    "StudyDescription": LO,
    "InstitutionName": LO,
}
REFERENCED_CLASS, REFERENCED_INSTANCE = Tag("ReferencedSOPClassUID"), Tag("ReferencedSOPInstanceUID")
VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def text_of(dataset: Dataset, keyword: str, most: int) -> str:
    """A text attribute's first value, without control characters, cut to `most`; "" where it cannot be read."""
    value = _raw(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return ""
    if hasattr(value, "__iter__") and not isinstance(value, str | PersonName):
        value = next(iter(value), "")
    return "".join(c for c in str(value) if c.isprintable() and c != "\\").strip()[:most].strip()


def date_of(dataset: Dataset, keyword: str) -> str:
    """A date as YYYYMMDD, "" where it is none."""
    text = text_of(dataset, keyword, 10).replace(".", "").replace("-", "")
    return text if re.fullmatch(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", text) else ""


def time_of(dataset: Dataset, keyword: str) -> str:
    """A time as HHMMSS[.F], "" where it is none."""
    text = text_of(dataset, keyword, 16).replace(":", "")
    return text if re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", text) else ""


def timezone_of(dataset: Dataset) -> str:
    """Timezone Offset From UTC as &ZZXX, "" where there is none that makes sense."""
    text = text_of(dataset, "TimezoneOffsetFromUTC", 5)
    return text if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", text) else ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs by which a report refers to an instance; all are valid."""

    study: str
    series: str
    sop_class: str
    sop_instance: str


def identity_of(source: Dataset, sop_instance_uid: str) -> Identity:
    """What `source` is known by. Raises ReportError where one of its UIDs is missing or not valid."""
    values = []
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"):
        values.append(text_of(source, keyword, 64))
        if not VALID_UID.fullmatch(values[-1]):
            raise ReportError(
                f"instance …{sop_instance_uid[-12:]} has no valid {keyword}, so a report cannot refer to it"
            )
    study, series, sop_class = values
    return Identity(study, series, sop_class, sop_instance_uid)


def clean_header(source: Dataset) -> Dataset:
    """What a report takes over from an instance: patient, study and its identity; valid whatever the source holds."""
    clean = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID"):
        value = text_of(source, keyword, 64)
        if VALID_UID.fullmatch(value):
            setattr(clean, keyword, value)
    for keyword, most in TEXTS.items():
        setattr(clean, keyword, text_of(source, keyword, most))
    clean.PatientName = _name(source, "PatientName")
    clean.ReferringPhysicianName = _name(source, "ReferringPhysicianName")
    clean.PatientBirthDate = date_of(source, "PatientBirthDate")
    clean.StudyDate, clean.StudyTime = date_of(source, "StudyDate"), time_of(source, "StudyTime")
    sex = text_of(source, "PatientSex", 1).upper()
    clean.PatientSex = sex if sex in ("M", "F", "O") else ""
    clean.Modality = text_of(source, "Modality", 16) or "OT"
    for keyword in ("IssuerOfPatientID", "InstitutionName", "StudyDescription"):
        if not clean.get(keyword):
            del clean[keyword]
    clean.SpecificCharacterSet = "ISO_IR 192"
    return clean


def reference_to(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """An item of a Referenced SOP Sequence (PS3.3 table 10-11).

    Its UIDs are valid already: pydicom would check each anew, which with thousands of items takes longer than all the rest.
    """
    return Dataset(
        {
            tag: DataElement(tag, "UI", UID(value, validation_mode=IGNORE), already_converted=True)
            for tag, value in ((REFERENCED_CLASS, sop_class_uid), (REFERENCED_INSTANCE, sop_instance_uid))
        }
    )


def evidence_sequence(instances: Iterable[Identity]) -> DicomSequence:
    """Current Requested Procedure Evidence Sequence (PS3.3 C.17.2.3) of instances of one study, sorted."""
    by_series: dict[str, dict[str, str]] = defaultdict(dict)
    study = ""
    for instance in instances:
        study = instance.study
        by_series[instance.series][instance.sop_instance] = instance.sop_class
    item = Dataset()
    item.StudyInstanceUID = study
    item.ReferencedSeriesSequence = DicomSequence(_series_item(uid, by_series[uid]) for uid in sorted(by_series))
    return DicomSequence([item])


def _series_item(series_uid: str, instances: Mapping[str, str]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    series.ReferencedSOPSequence = DicomSequence([reference_to(instances[uid], uid) for uid in sorted(instances)])
    return series


def _name(dataset: Dataset, keyword: str) -> str:
    """A person name of at most five components and 64 characters a group."""
    groups = text_of(dataset, keyword, 3 * PN).split("=")[:3]
    return "=".join("^".join(group.split("^")[:5])[:PN] for group in groups)


def _raw(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except (ValueError, TypeError, LookupError, BytesLengthException, NotImplementedError, OverflowError):
        return None
