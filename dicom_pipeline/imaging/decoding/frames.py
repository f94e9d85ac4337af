"""Decode one frame of one file to stored values, without decoding its neighbours.

Sources: PS3.5 section 8 (pixel encoding), PS3.3 C.7.6.3 (Image Pixel), C.7.6.16 (functional groups).
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.pixels.utils import as_pixel_options

from dicom_pipeline.dicom.attributes import UNPARSABLE, integer_of, items_of, nested_items, read_value
from dicom_pipeline.dicom.mosaics import Tiles, tiles_of
from dicom_pipeline.dicom.reading import InflatedTooLargeError, ReadFile, read_file
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import Frame, InstanceError, Reason
from dicom_pipeline.imaging.decoding.code_streams import check_code_stream
from dicom_pipeline.imaging.decoding.decoders import decode_first, plugins_of
from dicom_pipeline.imaging.decoding.fragments import Fragment, TruncatedFrameError, frames_of, read_frame
from dicom_pipeline.imaging.decoding.limits import Limits
from dicom_pipeline.imaging.decoding.packed import PackedFile

NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
"""Attributes without which no pixel can be read (type 1 in PS3.3 C.7.6.3)."""

PIXEL_DATA = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
PIXEL_VRS = ("OB", "OW", "OF", "OD", "UN")
UNDEFINED_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Stored:
    """One frame as stored.

    values: array (rows, columns) of stored values, or (rows, columns, 3) of RGB samples.
    dataset: the instance's header; functional: the frame's functional groups merged, nearest first.
    little_endian: byte order of the file, in which pydicom leaves the words of lookup tables.
    """

    values: npt.NDArray[Any]
    dataset: Dataset
    functional: tuple[Dataset, ...]
    little_endian: bool = True

    def find(self, keyword: str) -> Any:
        """Value of an attribute that applies to this frame: per-frame, shared, then the instance; None without."""
        return next((v for d in (*self.functional, self.dataset) if (v := read_value(d, keyword)) is not None), None)

    def holder(self, keyword: str) -> Dataset | None:
        """The data set (per-frame, shared or instance) that holds a sequence with items; None where none does."""
        return next((d for d in (*self.functional, self.dataset) if items_of(d, keyword)), None)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with its pixel data located.

    vr: of the pixel data, empty where it is implicit; keyword: empty without pixel data; position: of their value in the
    stream; frames: the fragments of each frame, None where the pixel data are not encapsulated.
    """

    file: ReadFile
    keyword: str
    vr: str
    position: int
    frames: tuple[tuple[Fragment, ...], ...] | None


@functools.lru_cache(maxsize=8)
def image_file(path: Path, max_inflated_bytes: int) -> ImageFile:
    """The file's header and the places of its frames. Raises InstanceError. The last few are kept: frames come file by file."""
    try:
        return located(read_file(path, max_inflated_bytes))
    except InflatedTooLargeError as error:
        raise InstanceError(Reason.TOO_LARGE, str(error)) from error
    except UNPARSABLE as error:
        raise InstanceError(Reason.UNREADABLE, type(error).__name__) from error


def located(file: ReadFile) -> ImageFile:
    """A file whose header was read, with the places of its frames. Raises InstanceError: gone, or TOO_LARGE inflated."""
    try:
        with file.open() as stream:
            stream.seek(file.pixel_data)
            return _located(file, stream)
    except InflatedTooLargeError as error:
        raise InstanceError(Reason.TOO_LARGE, str(error)) from error
    except OSError as error:
        raise InstanceError(Reason.UNREADABLE, type(error).__name__) from error


def _located(file: ReadFile, stream: BinaryIO) -> ImageFile:
    order = "<" if file.syntax.is_little_endian else ">"
    head = stream.read(8)
    if len(head) < 8:
        return ImageFile(file, "", "", stream.tell(), None)
    group, element = struct.unpack(f"{order}HH", head[:4])
    keyword = PIXEL_DATA.get(group << 16 | element, "")
    vr = head[4:6].decode("latin-1")
    if vr in PIXEL_VRS:
        length = int.from_bytes(stream.read(4), "little" if order == "<" else "big")
    else:  # a label of explicit VR does not make the data so
        vr, length = "", struct.unpack(f"{order}L", head[4:])[0]
    position = stream.tell()
    if length != UNDEFINED_LENGTH:
        return ImageFile(file, keyword, vr, position, None)
    count = max(1, integer_of(file.dataset, "NumberOfFrames") or 1)
    offsets = read_value(file.dataset, "ExtendedOffsetTable")
    return ImageFile(
        file, keyword, vr, position, frames_of(stream, count, offsets if isinstance(offsets, bytes) else b"")
    )


def decode(frame: Frame, limits: Limits | None = None, packed: PackedFile | None = None) -> Stored:
    """Stored values of one frame, or of one slice of a mosaic; colour comes as RGB.

    packed: what was read of its header elsewhere.

    Raises InstanceError with the reason: a missing attribute, an unsupported syntax, truncated or undecodable data.
    """
    limits = limits or Limits()
    image = image_file(frame.path, limits.max_inflated_bytes) if packed is None else located(packed.file)
    dataset = image.file.dataset
    tiles = tiles_of(dataset)
    _check(dataset, frame, limits, tiles)
    with suppress_warnings():  # pydicom warns of padding and excess frames that we can live with
        values = _decoded(image, frame.key.frame if tiles is None else 1)
    if tiles is not None:
        values = values[tiles.area(frame.key.frame)]
    return Stored(values, dataset, _functional_groups(dataset, frame.key.frame), image.file.syntax.is_little_endian)


def _check(dataset: Dataset, frame: Frame, limits: Limits, tiles: Tiles | None) -> None:
    missing = [name for name in NEEDED if read_value(dataset, name) is None]
    if missing:
        raise InstanceError(Reason.MISSING_ATTRIBUTE, ", ".join(missing))
    frames = limits.check(dataset) if tiles is None else limits.check(dataset) * tiles.count
    if frame.key.frame > frames:
        raise InstanceError(Reason.TRUNCATED, f"frame {frame.key.frame} of {frames}")


def _decoded(image: ImageFile, number: int) -> npt.NDArray[Any]:
    syntax = image.file.syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InstanceError(Reason.UNSUPPORTED_TRANSFER_SYNTAX, syntax) from error
    if syntax.is_encapsulated and not plugins_of(decoder):
        raise InstanceError(Reason.UNSUPPORTED_TRANSFER_SYNTAX, syntax)
    if not image.keyword:
        raise InstanceError(Reason.NO_PIXEL_DATA)
    if (image.frames is not None) != syntax.is_encapsulated:
        raise InstanceError(Reason.DECODE_FAILED, f"pixel data not encoded as {syntax} says")
    try:
        values = _frame_values(decoder, image, number)
    except AttributeError as error:
        raise InstanceError(Reason.MISSING_ATTRIBUTE, _named(error)) from error
    except (EOFError, IndexError, TruncatedFrameError) as error:
        raise InstanceError(Reason.TRUNCATED, type(error).__name__) from error
    except ValueError as error:
        short = any(word in str(error) for word in ("less than", "expected", "insufficient", "actual", "reshape"))
        raise InstanceError(Reason.TRUNCATED if short else Reason.DECODE_FAILED, type(error).__name__) from error
    except (*UNPARSABLE, RuntimeError) as error:
        raise InstanceError(Reason.DECODE_FAILED, type(error).__name__) from error
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.ndim == 2 and values.dtype.kind in "iu":
        return _stored_bits(values, image.file.dataset, encapsulated=syntax.is_encapsulated)
    return values


def _frame_values(decoder: Decoder, image: ImageFile, number: int) -> npt.NDArray[Any]:
    """One frame through pydicom's decoder, which is given the frame's bytes and nothing to find them by."""
    options = as_pixel_options(image.file.dataset, pixel_keyword=image.keyword)
    options.pop("extended_offsets", None)
    if image.frames is None:  # _stored_bits masks by HighBit, which pydicom does not look at
        options["correct_unused_bits"] = False
    if image.vr:
        options["pixel_vr"] = image.vr
    with image.file.open() as stream:
        if image.frames is None:
            stream.seek(image.position)
            return decoder.as_array(stream, index=number - 1, **options)[0]
        data = read_frame(stream, image.frames[number - 1])
    check_code_stream(data, image.file.syntax, image.file.dataset)
    options["number_of_frames"] = 1
    return decode_first(decoder, encapsulate([data], has_bot=False), options)


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
