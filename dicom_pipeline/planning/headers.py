"""Read an instance's header: everything before its pixel data, which is never touched.

A file that was cut before its pixel data gives the same header as the whole one, so it gives the same plan; that the
pixels are missing is found, and written down, when they are decoded.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

from dicom_pipeline.domain import Reason
from dicom_pipeline.errors import InstanceError

VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_valid_uid(text: str) -> bool:
    """Whether a text has the form of a UID: digits and dots, 1 to 64 characters (PS3.5 9.1; leading zeros are let pass)."""
    return len(text) <= 64 and VALID_UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Header:
    """One instance without its pixels, as planning sees it.

    dataset: every element before the pixel data. rank: where the instance stands by number, for ordering without
    geometry.
    """

    path: Path
    dataset: Dataset
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    frames: int

    def text(self, keyword: str) -> str:
        """An attribute as text; several values joined by a backslash, empty where it is missing or unreadable."""
        value = read_value(self.dataset, keyword)
        if value is None:
            return ""
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
            return str(value).strip()
        return "\\".join(str(part).strip() for part in value)

    def number(self, keyword: str) -> float | None:
        """An attribute's first value as a number, None where there is none."""
        return first_number(read_value(self.dataset, keyword))


def read_value(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value, None where it is missing, empty or cannot be converted from what was received."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = dataset.get(keyword)
    except (ValueError, TypeError, LookupError, BytesLengthException, NotImplementedError, OverflowError):
        return None
    return None if value == "" else value


def first_number(value: Any) -> float | None:
    """The first of one or several values as a finite number."""
    if value is not None and hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        value = next(iter(value), None)
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def read_header(path: Path) -> Header:
    """The header of a DICOM file. Raises InstanceError: UNREADABLE or MISSING_UID."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, stop_before_pixels=True, force=True)
            uids = {name: str(read_value(dataset, name) or "") for name in _UIDS}
            frames = first_number(read_value(dataset, "NumberOfFrames"))
    except (
        InvalidDicomError,
        OSError,
        ValueError,
        EOFError,
        LookupError,
        AttributeError,
        TypeError,
        zlib.error,
        BytesLengthException,
        NotImplementedError,
        RecursionError,
        OverflowError,
        struct.error,  # pydicom's, for an element that is cut in its length
    ) as error:
        raise InstanceError(Reason.UNREADABLE, type(error).__name__) from error
    wrong = [name for name, uid in uids.items() if not is_valid_uid(uid)]
    if len(wrong) == len(uids):
        raise InstanceError(Reason.UNREADABLE, "no DICOM data set")
    if wrong:
        raise InstanceError(Reason.MISSING_UID, ", ".join(wrong))
    meta = getattr(dataset, "file_meta", None)
    return Header(
        path=path,
        dataset=dataset,
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=str(read_value(dataset, "SOPClassUID") or ""),
        transfer_syntax_uid=str((meta or {}).get("TransferSyntaxUID") or UID("1.2.840.10008.1.2")),
        modality=str(read_value(dataset, "Modality") or ""),
        frames=max(1, int(frames or 1)),
    )


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
