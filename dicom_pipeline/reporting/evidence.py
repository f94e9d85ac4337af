"""The instances that a report speaks of: clean, small copies of their headers.

Source tags are as hospitals send them: missing, empty, too long, in any character set. What a report needs of them is
read one by one, cut to what DICOM allows, and left empty where it makes no sense; nothing is shared with the source, for
highdicom would otherwise write into it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence
from pydicom.valuerep import PersonName

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
UID = re.compile(r"[0-9]+(\.[0-9]+)*")


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


def clean_identity(source: Dataset) -> Dataset:
    """The valid ones of an instance's UIDs."""
    clean = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID"):
        value = text_of(source, keyword, 64)
        if UID.fullmatch(value):
            setattr(clean, keyword, value)
    return clean


def clean_header(source: Dataset) -> Dataset:
    """What a report takes over from an instance: patient, study and its identity; valid whatever the source holds."""
    clean = clean_identity(source)
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


def evidence_sequence(headers: Iterable[Dataset]) -> DicomSequence:
    """Current Requested Procedure Evidence Sequence (PS3.3 C.17.2.3) of instances of one study, sorted."""
    by_series: dict[str, dict[str, str]] = defaultdict(dict)
    study = ""
    for header in headers:
        study = str(header.StudyInstanceUID)
        by_series[str(header.SeriesInstanceUID)][str(header.SOPInstanceUID)] = str(header.SOPClassUID)
    item = Dataset()
    item.StudyInstanceUID = study
    item.ReferencedSeriesSequence = DicomSequence(_series_item(uid, by_series[uid]) for uid in sorted(by_series))
    return DicomSequence([item])


def _series_item(series_uid: str, instances: Mapping[str, str]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    references = []
    for sop_uid in sorted(instances):
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = instances[sop_uid], sop_uid
        references.append(reference)
    series.ReferencedSOPSequence = DicomSequence(references)
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
