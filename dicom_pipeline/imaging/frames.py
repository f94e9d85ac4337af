"""Decode one frame of one file to stored values, without decoding its neighbours.

Sources: PS3.5 section 8 (pixel encoding), PS3.3 C.7.6.3 (Image Pixel), C.7.6.16 (functional groups).
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_pipeline.dicom.attributes import UNPARSABLE, integer_of, items_of, nested_items, read_value
from dicom_pipeline.dicom.warnings import quiet
from dicom_pipeline.domain import Frame, InstanceError, Reason
from dicom_pipeline.imaging import jpeg12
from dicom_pipeline.imaging.limits import Limits

NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
"""Attributes without which no pixel can be read (type 1 in PS3.3 C.7.6.3)."""

jpeg12.register()


@dataclass(frozen=True, slots=True)
class Stored:
    """One frame as stored.

    values: array (rows, columns) of stored values, or (rows, columns, 3) of RGB samples.
    dataset: the instance's header; functional: the frame's functional groups merged, nearest first.
    """

    values: npt.NDArray[Any]
    dataset: Dataset
    functional: tuple[Dataset, ...]

    def find(self, keyword: str) -> Any:
        """Value of an attribute that applies to this frame: per-frame, shared, then the instance; None without."""
        return next((v for d in (*self.functional, self.dataset) if (v := read_value(d, keyword)) is not None), None)

    def holder(self, keyword: str) -> Dataset | None:
        """The data set (per-frame, shared or instance) that holds a sequence with items; None where none does."""
        return next((d for d in (*self.functional, self.dataset) if items_of(d, keyword)), None)


@functools.lru_cache(maxsize=8)
def read_image_header(path: Path) -> Dataset:
    """The data set before its pixel data. Raises InstanceError. The last few are kept: frames come file by file."""
    try:
        with quiet():
            dataset = dcmread(path, stop_before_pixels=True, force=True)
    except UNPARSABLE as error:
        raise InstanceError(Reason.UNREADABLE, type(error).__name__) from error
    return dataset


def decode(frame: Frame, limits: Limits | None = None) -> Stored:
    """Stored values of one frame; colour comes as RGB.

    Raises InstanceError with the reason: a missing attribute, an unsupported syntax, truncated or undecodable data.
    """
    dataset = read_image_header(frame.path)
    _check(dataset, frame, limits or Limits())
    with quiet():  # pydicom warns of padding and excess frames that we can live with
        values = _decoded(frame.path, dataset, frame.key.frame)
    return Stored(values, dataset, _functional_groups(dataset, frame.key.frame))


def _check(dataset: Dataset, frame: Frame, limits: Limits) -> None:
    missing = [name for name in NEEDED if read_value(dataset, name) is None]
    if missing:
        raise InstanceError(Reason.MISSING_ATTRIBUTE, ", ".join(missing))
    frames = limits.check(dataset)
    if frame.key.frame > frames:
        raise InstanceError(Reason.TRUNCATED, f"frame {frame.key.frame} of {frames}")
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        _check_inflated(frame.path, limits.max_inflated_bytes)


def _check_inflated(path: Path, maximum: int) -> None:
    """Inflate in small pieces, keeping none, so that a bomb is known before it is let loose."""
    raw = path.read_bytes()
    start = 132 + 12 + int.from_bytes(raw[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total, pending = 0, raw[start:]
    while pending and not inflater.eof:
        total += len(inflater.decompress(pending, 1 << 20))
        pending = inflater.unconsumed_tail
        if total > maximum:
            raise InstanceError(Reason.TOO_LARGE, f"inflates to more than {maximum} bytes")


def _decoded(path: Path, dataset: Dataset, number: int) -> npt.NDArray[Any]:
    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    _check_decoder(syntax)
    try:
        # a deflated data set cannot be read at an offset, so it is inflated as a whole (its size has been checked)
        source = dcmread(path) if syntax == DeflatedExplicitVRLittleEndian else path
        values = pixel_array(source, index=number - 1)
    except AttributeError as error:
        reason = Reason.NO_PIXEL_DATA if "pixel data" in str(error).lower() else Reason.MISSING_ATTRIBUTE
        raise InstanceError(reason, _named(error)) from error
    except (EOFError, IndexError) as error:
        raise InstanceError(Reason.TRUNCATED, type(error).__name__) from error
    except ValueError as error:
        short = any(word in str(error) for word in ("less than", "expected", "insufficient", "actual", "reshape"))
        raise InstanceError(Reason.TRUNCATED if short else Reason.DECODE_FAILED, type(error).__name__) from error
    except (*UNPARSABLE, RuntimeError) as error:
        raise InstanceError(Reason.DECODE_FAILED, type(error).__name__) from error
    if values.ndim == 2 and values.dtype.kind in "iu":
        return _stored_bits(values, dataset, encapsulated=UID(syntax).is_encapsulated if syntax else False)
    return values


def _check_decoder(syntax: str | None) -> None:
    if syntax is None:
        return  # no file meta: pydicom falls back to implicit VR little endian
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError as error:
        raise InstanceError(Reason.UNSUPPORTED_TRANSFER_SYNTAX, syntax) from error
    if not decoder.is_available:
        raise InstanceError(Reason.UNSUPPORTED_TRANSFER_SYNTAX, syntax)


def _named(error: Exception) -> str:
    """The attribute that an exception names, if it names one: its text may hold values, which stay out."""
    text = str(error)
    return next((word for word in NEEDED if word in text), type(error).__name__)


def _stored_bits(values: npt.NDArray[Any], dataset: Dataset, *, encapsulated: bool) -> npt.NDArray[Any]:
    """Values with overlay bits masked and an odd HighBit shifted down (PS3.5 8.1.1); sign-extended where signed."""
    allocated = values.dtype.itemsize * 8
    stored = integer_of(dataset, "BitsStored") or allocated
    high = integer_of(dataset, "HighBit")
    high = stored - 1 if high is None else high
    if encapsulated or stored >= allocated or not 0 < stored <= high + 1 <= allocated:
        return values
    unsigned = values.view(f"u{values.dtype.itemsize}")
    bits = (unsigned >> (high + 1 - stored)) & np.array((1 << stored) - 1, unsigned.dtype)
    if values.dtype.kind == "u":
        return bits
    shift = allocated - stored
    return (bits << shift).view(values.dtype) >> shift


def _functional_groups(dataset: Dataset, number: int) -> tuple[Dataset, ...]:
    """The data sets of the frame's own functional groups, then of the shared ones (PS3.3 C.7.6.16)."""
    per_frame = items_of(dataset, "PerFrameFunctionalGroupsSequence")[number - 1 : number]
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")[:1]
    return tuple(item for groups in (*per_frame, *shared) for item in nested_items(groups))
