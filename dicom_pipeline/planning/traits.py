"""What an instance says of itself that decides which labels apply to it."""

from __future__ import annotations

import re
from datetime import date, datetime

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, texts_of
from dicom_pipeline.domain import ImageTraits
from dicom_pipeline.planning.headers import Header

DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "StudyDescription", "RequestedProcedureDescription")
"""A series is often called AX T2 FLAIR where the study is called MRI BRAIN."""

DAYS_A_UNIT = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
MAX_AGE = 130


def traits_of(header: Header) -> ImageTraits:
    """The traits of an instance; where an attribute is missing, its younger counterpart of enhanced objects is read."""
    dataset = header.dataset
    return ImageTraits(
        modality=header.modality,
        body_part=_first(dataset, "BodyPartExamined") or _anatomy(dataset),
        description="\n".join(dict.fromkeys(text for name in DESCRIPTIONS if (text := header.text(name)))),
        view=_first(dataset, "ViewPosition") or _meaning(dataset, "ViewCodeSequence"),
        laterality=_first(dataset, "ImageLaterality") or _first(dataset, "Laterality"),
        age_years=age_of(dataset),
    )


def age_of(dataset: Dataset) -> int | None:
    """The patient's age in completed years: as stated (PS3.5 6.2, AS), else from birth and study date; None without."""
    if match := re.fullmatch(r"(\d{1,3})([DWMY])", _first(dataset, "PatientAge")):
        years = int(int(match[1]) * DAYS_A_UNIT[match[2]] / DAYS_A_UNIT["Y"] + 1e-6)
        return years if years <= MAX_AGE else None
    born, studied = _date(dataset, "PatientBirthDate"), _date(dataset, "StudyDate")
    if born is None or studied is None:
        return None
    years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return years if 0 <= years <= MAX_AGE else None


def _anatomy(dataset: Dataset) -> str:
    """Meaning of the Anatomic Region (PS3.3 10.5), of the object or of all frames of an enhanced one."""
    if found := _meaning(dataset, "AnatomicRegionSequence"):
        return found
    anatomy = (each for group in items_of(dataset, "SharedFunctionalGroupsSequence") for each in _frame_anatomy(group))
    return next(anatomy, "")


def _frame_anatomy(group: Dataset) -> list[str]:
    items = items_of(group, "FrameAnatomySequence")
    return [text for item in items if (text := _meaning(item, "AnatomicRegionSequence"))]


def _meaning(dataset: Dataset, sequence: str) -> str:
    return next((text for item in items_of(dataset, sequence) if (text := _first(item, "CodeMeaning"))), "")


def _first(dataset: Dataset, keyword: str) -> str:
    return next(iter(texts_of(dataset, keyword)), "").strip()


def _date(dataset: Dataset, keyword: str) -> date | None:
    try:
        return datetime.strptime(_first(dataset, keyword), "%Y%m%d").date()
    except ValueError:
        return None
