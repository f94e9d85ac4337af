"""The instances that a report speaks of: clean, small copies of their headers.

Source tags are as hospitals send them: missing, empty, too long, in any character set. What a report needs of them is
read one by one, cut to what DICOM allows, and left empty where it makes no sense; nothing is shared with the source, for
highdicom would otherwise write into it.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import UID

from dicom_pipeline.dicom.attributes import integer_of, items_of, texts_of
from dicom_pipeline.dicom.mosaics import mark_as_mosaic, tiles_of
from dicom_pipeline.domain import FrameKey, short_uid
from dicom_pipeline.errors import ReportError

LO, SH, PN, MAX_UID_LENGTH = 64, 16, 64, 64
"""Longest values (PS3.5 6.2). They are characters there, and a group of a name; dciodvfy counts bytes, and all of a name:
both are kept."""

IDENTIFIERS: Mapping[str, int] = {"PatientID": LO, "IssuerOfPatientID": LO, "StudyID": SH, "AccessionNumber": SH}
REQUEST: Mapping[str, int] = {
    "AccessionNumber": SH,
    "RequestedProcedureID": SH,
    "PlacerOrderNumberImagingServiceRequest": LO,
    "FillerOrderNumberImagingServiceRequest": LO,
}
OF_THE_PATIENT_AT_THE_STUDY: Mapping[str, re.Pattern[str]] = {
    "PatientAge": re.compile(r"\d{3}[DWMY]"),
    "PatientSize": re.compile(r"(?=.*[1-9])\d{1,3}(\.\d{1,6})?"),
    "PatientWeight": re.compile(r"(?=.*[1-9])\d{1,3}(\.\d{1,6})?"),
}
"""Patient Study module (PS3.3 C.7.2.2): what makes sense; the rest is left out."""
REFERENCED_CLASS, REFERENCED_INSTANCE = Tag("ReferencedSOPClassUID"), Tag("ReferencedSOPInstanceUID")
VALID_UID = re.compile(r"[12](\.(0|[1-9][0-9]*))+")
"""A UID of PS3.5 9.1: a root that exists (ISO or joint; none is under 0) and no leading zeros. Validators refuse all others."""
MAX_FRAMES = 2**31 - 1
"""The largest Number of Frames that an IS can say (PS3.5 6.2)."""


_CLASSES = "1.2.840.10008.5.1.4.1.1."
TIMES = ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime")
"""Of an instance: what is made with a report has the report's."""

SINGLE_FRAME = frozenset(
    _CLASSES + tail
    for tail in (
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"),  # CR, DX, MG, intra-oral
        *("2", "4", "6.1", "7", "128"),  # CT, MR, US, SC, PET
        *("77.1.1", "77.1.2", "77.1.3", "77.1.4"),  # visible light
    )
)
"""Image classes that hold one frame, whatever Number of Frames says: a reference to them may not name a frame."""


def text_of(dataset: Dataset, keyword: str, max_bytes: int) -> str:
    """A text attribute's first value, without control characters, cut to `max_bytes` of UTF-8; "" where it cannot be read."""
    return printable(next(iter(texts_of(dataset, keyword)), ""), max_bytes)


def without_series_time(made: Dataset) -> None:
    """Take out what highdicom sets of a series: revisions share one, and each has a time of its own."""
    for keyword in ("SeriesDate", "SeriesTime"):
        if keyword in made:
            delattr(made, keyword)


def printable(text: str, max_bytes: int) -> str:
    """A text without control characters and backslashes, cut to `max_bytes` of UTF-8."""
    return cut("".join(c for c in text if c.isprintable() and c != "\\").strip(), max_bytes)


def identifier_of(dataset: Dataset, keyword: str, max_bytes: int) -> str:
    """An attribute that identifies: as it is or "", for a part of an identifier could be that of another patient."""
    values = texts_of(dataset, keyword)
    text = values[0].strip(" \0\t\r\n") if len(values) == 1 else ""
    return (
        text if text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text and cut(text, max_bytes) == text else ""
    )


def frames_of(dataset: Dataset) -> int | None:
    """Number of Frames, None where the instance states none that can be."""
    text = text_of(dataset, "NumberOfFrames", 12)
    return int(text) if re.fullmatch(r"\+?[0-9]+", text) and 0 < int(text) <= MAX_FRAMES else None


def copy_frames(source: Dataset, clean: Dataset) -> None:
    """Give a cleaned header what tells how many frames, or slices of a mosaic, its image holds, and their size."""
    if (frames := frames_of(source)) is not None:
        clean.NumberOfFrames = frames
    if (size := size_of(source)) is not None:
        clean.Rows, clean.Columns = size
    if (tiles := tiles_of(source)) is not None:
        mark_as_mosaic(clean, tiles)


def size_of(dataset: Dataset) -> tuple[int, int] | None:
    """Rows and columns, None where the instance states none that can be."""
    rows, columns = integer_of(dataset, "Rows"), integer_of(dataset, "Columns")
    return (rows, columns) if rows and columns and 0 < rows < 2**16 and 0 < columns < 2**16 else None


def frame_number_of(clean: Dataset, key: FrameKey) -> int | None:
    """The Referenced Frame Number (PS3.3 table 10-3) of a frame; None where the reference is to all there is, or to a mosaic.

    Raises ReportError where a valid reference cannot say which frame it is.
    """
    if tiles_of(clean) is not None:
        return None
    if str(clean.SOPClassUID) not in SINGLE_FRAME:
        return key.frame if key.frame > 1 or int(clean.get("NumberOfFrames") or 1) > 1 else None
    if key.frame > 1:
        raise ReportError(
            f"instance {short_uid(key.sop_instance_uid)} is of a class of single images ({clean.SOPClassUID}) but has "
            f"several frames, so no valid report can refer to its frame {key.frame}"
        )
    return None


def date_of(dataset: Dataset, keyword: str) -> str:
    """A date as YYYYMMDD of the years 1000 to 2999 (as dciodvfy has it), "" where it is none."""
    text = text_of(dataset, keyword, 10).replace(".", "").replace("-", "")
    try:
        return f"{datetime.strptime(text, '%Y%m%d'):%Y%m%d}" if re.fullmatch(r"[12]\d{7}", text) else ""
    except ValueError:
        return ""


def time_of(dataset: Dataset, keyword: str) -> str:
    """A time as HHMMSS[.F], "" where it is none."""
    text = text_of(dataset, keyword, 16).replace(":", "")
    return text if re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", text) else ""


def timezone_of(dataset: Dataset) -> str:
    """Timezone Offset From UTC as &ZZXX, -1200 to +1400 (PS3.3 C.12.1), "" where there is none that makes sense."""
    text = text_of(dataset, "TimezoneOffsetFromUTC", 16)
    if not re.fullmatch(r"[+-]\d\d[0-5]\d", text) or text == "-0000":
        return ""
    return text if -1200 <= int(text) <= 1400 else ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs by which a report refers to an instance; all are valid."""

    study: str
    series: str
    sop_class: str
    sop_instance: str


def identity_of(source: Dataset, sop_instance_uid: str) -> Identity:
    """What `source` is known by. Raises ReportError where one of its UIDs is missing or not valid."""
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID")
    study, series, sop_class = (text_of(source, keyword, 65) for keyword in keywords)
    for keyword, uid in zip((*keywords, "SOPInstanceUID"), (study, series, sop_class, sop_instance_uid), strict=True):
        if len(uid) > MAX_UID_LENGTH or not VALID_UID.fullmatch(uid):
            raise ReportError(
                f"instance {short_uid(sop_instance_uid)} has no valid {keyword} (PS3.5 9.1: at most 64 characters, a root "
                "1 or 2, no leading zeros), so no valid report can refer to it"
            )
    if not _is_image_class(sop_class):
        raise ReportError(
            f"instance {short_uid(sop_instance_uid)} is of the class {sop_class}, which the standard does not list as an "
            "image, so no valid report can refer to it as one"
        )
    return Identity(study, series, sop_class, sop_instance_uid)


@functools.cache
def _is_image_class(sop_class_uid: str) -> bool:
    """Whether the standard lists the class as an image (PS3.6 table A-1): a private one may stand under no IMAGE item."""
    return "Image Storage" in UID(sop_class_uid, validation_mode=IGNORE).name


def clean_header(source: Dataset) -> Dataset:
    """What a report takes over from an instance: patient, study and its identity; valid whatever the source holds."""
    clean = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID"):
        value = text_of(source, keyword, 64)
        if VALID_UID.fullmatch(value):
            setattr(clean, keyword, value)
    for keyword, max_bytes in IDENTIFIERS.items():
        setattr(clean, keyword, identifier_of(source, keyword, max_bytes))
    clean.StudyDescription = text_of(source, "StudyDescription", LO)
    clean.PatientName = _name(source, "PatientName")
    clean.ReferringPhysicianName = _name(source, "ReferringPhysicianName")
    clean.PatientBirthDate = date_of(source, "PatientBirthDate")
    clean.StudyDate, clean.StudyTime = date_of(source, "StudyDate"), time_of(source, "StudyTime")
    sex = text_of(source, "PatientSex", 16).upper()  # whole: MISSING is not male
    clean.PatientSex = sex if sex in ("M", "F", "O") else ""
    for keyword, pattern in OF_THE_PATIENT_AT_THE_STUDY.items():
        if pattern.fullmatch(text := text_of(source, keyword, 16)):
            setattr(clean, keyword, text)
    clean.Modality = text_of(source, "Modality", 16) or "OT"
    for keyword in ("IssuerOfPatientID", "StudyDescription"):
        if not clean.get(keyword):
            del clean[keyword]
    clean.SpecificCharacterSet = "ISO_IR 192"
    return clean


def referenced_requests(source: Dataset, study_instance_uid: str) -> DicomSequence:
    """Referenced Request Sequence (PS3.3 C.17.2): the orders that the images fulfil, as their Request Attributes say.

    One item a requested procedure, empty where the images name none.
    """
    made = dict[tuple[str, str], Dataset]()
    for stated in items_of(source, "RequestAttributesSequence"):
        item = Dataset()
        item.StudyInstanceUID = study_instance_uid
        item.ReferencedStudySequence = DicomSequence()
        for keyword, length in REQUEST.items():
            setattr(item, keyword, identifier_of(stated if keyword in stated else source, keyword, length))
        item.RequestedProcedureDescription = text_of(stated, "RequestedProcedureDescription", LO)
        item.RequestedProcedureCodeSequence = DicomSequence(_codes(stated))
        if item.RequestedProcedureID or item.AccessionNumber:
            made.setdefault((item.AccessionNumber, item.RequestedProcedureID), item)
    return DicomSequence(made.values())


def _codes(stated: Dataset) -> list[Dataset]:
    """The codes of a requested procedure that are whole (PS3.3 8.8)."""
    made = []
    for code in items_of(stated, "RequestedProcedureCodeSequence"):
        item = Dataset()
        item.CodeValue = identifier_of(code, "CodeValue", SH)
        item.CodingSchemeDesignator = identifier_of(code, "CodingSchemeDesignator", SH)
        item.CodeMeaning = text_of(code, "CodeMeaning", LO)
        if item.CodeValue and item.CodingSchemeDesignator and item.CodeMeaning:
            made.append(item)
    return made


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
    """A person name of at most five components a group; groups beyond the length are left out from the last on."""
    groups = text_of(dataset, keyword, 16 * PN).split("=")[:3]
    groups = ["^".join(group.split("^")[:5]).strip() for group in groups]
    while len(groups) > 1 and (not groups[-1] or len("=".join(groups).encode()) > PN):
        groups.pop()
    name = cut("=".join(groups), PN)
    return name if name.strip("^= ") else ""


def cut(text: str, max_bytes: int) -> str:
    """The text's beginning of at most `max_bytes` bytes of UTF-8."""
    return text.encode()[:max_bytes].decode(errors="ignore").strip()
