"""Whether two files hold the same instance, written in different ways: transfer syntax, lossless compression, lengths, padding.

Senders re-encode what they send: a PACS sends in implicit VR, deflated or losslessly compressed what a modality sent in
explicit VR. That is the same content. Everything else is another one, and so is whatever leaves a doubt.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.sameness.attributes import same_attributes, same_element
from dicom_pipeline.dicom.sameness.data_sets import (
    PIXEL_DATA,
    DoubtError,
    Element,
    Elements,
    Fragments,
    inflated,
    read_data_set,
)
from dicom_pipeline.dicom.warnings import suppress_warnings

MAX_FILE_BYTES = 1024**3
MAX_FRAME_BYTES = 256 * 1024**2
MAX_DECODED_BYTES = 2 * 1024**3
"""What is larger (a file, inflated or not; one frame; all frames) is not compared, and so counts as other content."""

NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
)
RCT = frozenset({JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL})
"""Codecs whose lossless colour transform is told as YBR_RCT (PS3.3 C.7.6.3.1.2); decoded, it is RGB again."""

LOSSLESS = NATIVE | RCT | {RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless}
"""Only syntaxes that can hold nothing else: what may be lossy is no witness."""

SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, SIGNED = (
    0x00280010,
    0x00280011,
    0x00280100,
    0x00280101,
    0x00280102,
    0x00280103,
)
DERIVATION, ICON = 0x00082111, 0x00880200
OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
"""Extended Offset Table, its lengths, and the total length of encapsulated pixel data: they tell of the fragments."""

CODEC_REMARK = re.compile(
    rb"Lossless JPEG compression, selection value \d, point transform 0, compression ratio [\d.e+]+( \[(.*)\])?",
    re.DOTALL,
)
"""What dcmtk's lossless JPEG encoder writes into Derivation Description (0008,2111), before an earlier text in brackets. It
says how the file is written, and outlives that where another node decompresses it.
"""


@dataclass(frozen=True, slots=True)
class _Written:
    """An image or another instance as it was written. icon: the item of its Icon Image Sequence, not the instance itself."""

    path: Path
    syntax: UID
    elements: Elements
    icon: bool = False

    def number(self, tag: int, default: int | None = None) -> int:
        """A value of VR US or IS. Raises DoubtError."""
        element = self.elements.get(tag)
        if element is None and default is not None:
            return default
        if element is None or not isinstance(element.value, memoryview):
            raise DoubtError("lacks a number that pixels need")
        raw = bytes(element.value)
        try:
            return int(raw) if tag == FRAMES else int.from_bytes(raw[:2], "big" if element.big else "little")
        except ValueError as error:
            raise DoubtError("a number that is none") from error

    @property
    def colours(self) -> bytes:
        """Photometric Interpretation of the decoded samples."""
        value = self.elements[PHOTOMETRIC].value if PHOTOMETRIC in self.elements else b""
        text = bytes(value).strip(b" \0") if isinstance(value, memoryview) else b""
        return b"RGB" if text == b"YBR_RCT" and self.syntax in RCT else text

    @property
    def small_picture(self) -> _Written | None:
        """The icon (PS3.3 C.7.6.1.1.6), which codecs compress beside the image."""
        items = self.elements[ICON].value if ICON in self.elements else ()
        if not isinstance(items, tuple) or len(items) != 1 or PIXEL_DATA not in items[0]:
            return None
        return replace(self, elements=items[0], icon=True)


def same_content(first: Path, second: Path) -> bool:
    """Whether two Part 10 files hold the same data set, but for what their transfer syntax decides. Any doubt is a no.

    Pixel data count as the same where their bytes are, or where both syntaxes are lossless and all frames decode to equal
    arrays. Runs decoders, so that hostile files belong in a process of their own. Raises nothing.
    """
    try:
        with suppress_warnings(), first.open("rb") as one, second.open("rb") as other:
            return _same(_written(first, one), _written(second, other))
    except (DoubtError, MemoryError, RuntimeError, *UNPARSABLE):
        return False


def _written(path: Path, stream: Any) -> _Written:
    syntax = UID(read_file_meta_info(path).TransferSyntaxUID)
    content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    if len(content) > MAX_FILE_BYTES or bytes(content[128:132]) != b"DICM":
        raise DoubtError("too large, or no Part 10 file")
    start = 144 + int.from_bytes(content[140:144], "little")
    elements = read_data_set(inflated(content[start:], syntax, MAX_FILE_BYTES), syntax)
    return _Written(path, syntax, _without_remark(elements))


def _without_remark(elements: Elements) -> Elements:
    """The elements without what a lossless encoder says of itself."""
    text = elements[DERIVATION].value if DERIVATION in elements else b""
    found = CODEC_REMARK.fullmatch(bytes(text).rstrip(b" \0")) if isinstance(text, memoryview) else None
    if found is None:
        return elements
    rest = {tag: element for tag, element in elements.items() if tag != DERIVATION}
    return rest if found[1] is None else rest | {DERIVATION: replace(elements[DERIVATION], value=memoryview(found[2]))}


def _same(first: _Written, second: _Written) -> bool:
    one, other = first.elements.get(PIXEL_DATA), second.elements.get(PIXEL_DATA)
    if one is None or other is None:
        return one is other and same_attributes(first.elements, second.elements)
    encoded = isinstance(one.value, Fragments), isinstance(other.value, Fragments)
    but = {PIXEL_DATA}
    icon, other_icon = first.small_picture, second.small_picture
    if icon is not None and other_icon is not None and _same(icon, other_icon):
        but.add(ICON)
    if any(encoded):
        but |= set(OFFSET_TABLES)
    if all(encoded) and first.syntax == second.syntax and _same_stream(first, one, other):
        return same_attributes(first.elements, second.elements, but)
    if not any(encoded):
        return same_element(PIXEL_DATA, one, other) and same_attributes(first.elements, second.elements, but)
    if not {first.syntax, second.syntax} <= LOSSLESS:
        return False
    but.add(PHOTOMETRIC)
    if first.number(SAMPLES) > 1 and PLANAR in first.elements and PLANAR in second.elements:
        but.add(PLANAR)  # a codec has an order of its own (PS3.5 8.2); what is decoded comes colour by pixel
    attributes = first.colours == second.colours and same_attributes(first.elements, second.elements, but)
    return attributes and _same_frames(first, second)


def _same_stream(first: _Written, one: Element, other: Element) -> bool:
    """Whether two encapsulated pixel data hold the same code streams; a single frame's may be cut into other fragments."""
    assert isinstance(one.value, Fragments)
    assert isinstance(other.value, Fragments)
    parts, others = one.value.parts[1:], other.value.parts[1:]
    single = first.number(FRAMES, 1) == 1
    return parts == others or (single and b"".join(parts) == b"".join(others))


def _same_frames(first: _Written, second: _Written) -> bool:
    """Whether all frames decode to the same samples. Their image attributes are known to be the same."""
    frames, allocated = first.number(FRAMES, 1), first.number(ALLOCATED)
    size = first.number(ROWS) * first.number(COLUMNS) * first.number(SAMPLES) * allocated // 8
    if allocated not in (8, 16, 32) or size > MAX_FRAME_BYTES or not 0 < size * frames <= MAX_DECODED_BYTES:
        raise DoubtError("no pixels that can be compared")
    for written in (first, second):
        _check_frames(written, frames, size * frames)
    pairs = zip_longest(_frames(first), _frames(second))
    return all(_same_samples(one, other, first) for one, other in pairs)


def _check_frames(written: _Written, frames: int, size: int) -> None:
    """Raise DoubtError where pixel data hold anything beside the frames that are told: a decoder would pass over it."""
    value = written.elements[PIXEL_DATA].value
    if isinstance(value, Fragments):
        table = len(value.parts[0]) // 4 if value.parts else 0
        fragments = len(value.parts) - 1
        whole = fragments >= 1 if frames == 1 else frames in (fragments, table)
    else:
        whole = isinstance(value, memoryview) and len(value) == size + size % 2
    if not whole:
        raise DoubtError("other than the frames that are told")


def _frames(written: _Written) -> Iterator[npt.NDArray[Any]]:
    """Each frame's samples as decoded: no colour conversion, unused bits as they stand where the decoder leaves them."""
    source: Path | Dataset = written.path
    if (
        written.icon or written.syntax == DeflatedExplicitVRLittleEndian
    ):  # cannot be read at an offset; sizes are checked
        source = whole = dcmread(written.path)
        if written.icon:
            whole.IconImageSequence[0].file_meta = whole.file_meta
            source = whole.IconImageSequence[0]
    yield from iter_pixels(source, raw=True, correct_unused_bits=False)


def _same_samples(one: Any, other: Any, image: _Written) -> bool:
    """Whether two frames are equal. Bits above the stored ones may differ only where they are no more than a sign."""
    if one is None or other is None or one.shape != other.shape:
        return False
    one, other = (array.astype(array.dtype.newbyteorder("="), copy=False) for array in (one, other))
    if one.dtype != other.dtype:
        return False
    if np.array_equal(one, other):
        return True
    stored, bits = image.number(STORED), 8 * one.dtype.itemsize
    if not 0 < stored < bits or image.number(HIGH_BIT) != stored - 1 or not image.number(SIGNED):
        return False
    words = [array.view(f"u{array.dtype.itemsize}") for array in (one, other)]
    mask = words[0].dtype.type((1 << stored) - 1)
    return all(_sign_only(array, stored, bits) for array in words) and np.array_equal(words[0] & mask, words[1] & mask)


def _sign_only(words: npt.NDArray[Any], stored: int, bits: int) -> bool:
    """Whether the unused high bits of each word are all 0, or all as its sign bit."""
    above = words >> stored
    negative = (words >> (stored - 1)) & 1 == 1
    return bool(np.all((above == 0) | (negative & (above == (1 << (bits - stored)) - 1))))
