"""Read an instance's header: everything before its pixel data, which is never touched.

A file that was cut before its pixel data gives the same header as the whole one, so it gives the same plan; that the
pixels are missing is found, and written down, when they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import UNPARSABLE, first_number, integer_of, read_value, texts_of
from dicom_pipeline.dicom.identity import is_ambiguous
from dicom_pipeline.dicom.mosaics import tiles_of
from dicom_pipeline.dicom.reading import InflatedTooLargeError, ReadFile, read_file
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import Excluded, InstanceError, Reason


@dataclass(frozen=True, slots=True)
class Header:
    """One instance without its pixels, as planning sees it.

    file: where it was read from, with every element before the pixel data. frames: how many pictures it holds, the slices of a
    mosaic included. located: the geometry of its frames, once it
    was asked for (planning.geometry): several recognisers ask.
    """

    file: ReadFile
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    frames: int
    located: list[Any] = field(default_factory=list, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The instance's file."""
        return self.file.path

    @property
    def dataset(self) -> Dataset:
        """Every element before the pixel data."""
        return self.file.dataset

    def text(self, keyword: str) -> str:
        """An attribute as text; several values joined by a backslash, empty where it is missing or unreadable."""
        return "\\".join(part.strip() for part in texts_of(self.dataset, keyword))

    def number(self, keyword: str) -> float | None:
        """An attribute's first value as a number, None where there is none."""
        return first_number(read_value(self.dataset, keyword))

    def excluded(self, reason: Reason, detail: str = "", frame: int | None = None) -> Excluded:
        """This instance, or one frame of it, as not used."""
        return Excluded(reason, self.path, self.sop_instance_uid, self.series_instance_uid, frame, detail)


def read_header(path: Path) -> Header:
    """The header of a DICOM file. Raises InstanceError: UNREADABLE, TOO_LARGE, MISSING_UID or AMBIGUOUS_IDENTITY."""
    try:
        file = read_file(path)
        dataset = file.dataset
        with suppress_warnings():
            uids = {name: str(read_value(dataset, name) or "") for name in _UIDS}
            tiles = tiles_of(dataset)
            frames = tiles.count if tiles is not None else integer_of(dataset, "NumberOfFrames")
        ambiguous = _is_ambiguous(file)
    except InflatedTooLargeError as error:
        raise InstanceError(Reason.TOO_LARGE, str(error)) from error
    except UNPARSABLE as error:
        raise InstanceError(Reason.UNREADABLE, type(error).__name__) from error
    wrong = [name for name, uid in uids.items() if not is_valid_uid(uid)]
    if len(wrong) == len(uids):
        raise InstanceError(Reason.UNREADABLE, "no DICOM data set")
    if wrong:
        raise InstanceError(Reason.MISSING_UID, ", ".join(wrong))
    if ambiguous:
        raise InstanceError(Reason.AMBIGUOUS_IDENTITY)
    return Header(
        file=file,
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=_first(dataset, "SOPClassUID"),
        transfer_syntax_uid=str(file.syntax),
        modality=_first(dataset, "Modality"),
        frames=max(1, frames or 1),
    )


def _is_ambiguous(file: ReadFile) -> bool:
    """As on receiving. The encoding is that which the reader found, which is not always what the file says."""
    implicit, little_endian = file.dataset.original_encoding
    if implicit is None or little_endian is None:
        return False
    with file.open_header() as stream:
        stream.seek(file.data_set)
        return is_ambiguous(stream, implicit=implicit, little_endian=little_endian)


def _first(dataset: Dataset, keyword: str) -> str:
    return next(iter(texts_of(dataset, keyword)), "").strip()


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
