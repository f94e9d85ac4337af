"""What the header of a compressed frame itself says of its size, read before a decoder takes memory for it.

Sources: ISO/IEC 15444-1 A.5.1 (SIZ) and I.4 (boxes of JP2), ISO/IEC 10918-1 B.2.2 (SOF), ISO/IEC 14495-1 C.2 (SOF55, LSE),
PS3.5 annex G (RLE). HTJ2K has the SIZ of JPEG 2000.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import RLELossless

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.domain import InstanceError, Reason

JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
SOC, SOI = b"\xff\x4f", b"\xff\xd8"
SIZ, SOT, SOS, EOI, SOF55, LSE = 0x51, 0x90, 0xDA, 0xD9, 0xF7, 0xF8
SOFS = frozenset({*range(0xC0, 0xD0), SOF55} - {0xC4, 0xC8, 0xCC})
"""Start of frame of any process; C4, C8 and CC are DHT, JPG and DAC."""

STANDALONE = frozenset({0x00, 0x01, 0x4F, *range(0xD0, 0xD9)})
"""Markers without a length: stuffing, TEM, SOC, RST, SOI."""

MIN_TILE_PIXELS = 64
FREE_TILES = 64
"""A decoder takes kilobytes for each tile: beyond this many, tiles have MIN_TILE_PIXELS on average."""

RLE_HEADER_BYTES, RLE_MAX_SEGMENTS, RLE_EXPANSION = 64, 15, 64
RLE_FREE_BYTES = 1 << 26
"""Segments that cannot become longer than this are not measured."""


@dataclass(frozen=True, slots=True)
class StreamSize:
    """Columns, rows, samples a pixel and bits a sample of a code stream, and its number of tiles."""

    width: int
    height: int
    components: int
    precision: int
    tiles: int = 1


def check_code_stream(data: bytes, syntax: str, dataset: Dataset) -> None:
    """Compare a frame's code stream with the attributes of its data set.

    A stream that is smaller, or whose header cannot be read, is left to its decoder. Raises InstanceError:
    LARGER_THAN_DECLARED, or TOO_LARGE for an absurd number of tiles.
    """
    rows, columns = integer_of(dataset, "Rows") or 0, integer_of(dataset, "Columns") or 0
    samples, bits = integer_of(dataset, "SamplesPerPixel") or 1, integer_of(dataset, "BitsAllocated") or 8
    if syntax == RLELossless:
        _check_rle(data, rows * columns, samples * -(-bits // 8))
        return
    for size in stream_sizes(data):
        if size.width > columns or size.height > rows or size.components > samples or size.precision > bits:
            said = f"{size.height} x {size.width} x {size.components}, {size.precision} bits"
            declared = f"{rows} x {columns} x {samples}, {bits} bits"
            raise InstanceError(Reason.LARGER_THAN_DECLARED, f"code stream: {said}; data set: {declared}")
        if size.tiles > max(FREE_TILES, size.width * size.height // MIN_TILE_PIXELS):
            raise InstanceError(Reason.TOO_LARGE, f"{size.tiles} tiles")


def stream_sizes(data: bytes) -> Iterator[StreamSize]:
    """Each size that a JPEG, JPEG-LS, JPEG 2000 or JP2 stream gives; none of other bytes. Raises nothing for odd bytes."""
    if data.startswith(JP2_SIGNATURE):
        for start in _code_streams_of_jp2(data):
            yield from _jpeg2000(data, start)
    elif data.startswith(SOC):
        yield from _jpeg2000(data, 0)
    elif data.startswith(SOI):
        yield from _jpeg(data)


def _segments(data: bytes, at: int, ends: frozenset[int]) -> Iterator[tuple[int, bytes]]:
    """Markers from a position on, each with the bytes of its segment, up to one of the ends. Bytes between are skipped."""
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker in ends:
            return
        if marker == 0xFF:
            at += 1
        elif marker in STANDALONE:
            at += 2
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, data[at + 4 : at + 2 + length]
            at += 2 + max(2, length)


def _jpeg2000(data: bytes, start: int) -> Iterator[StreamSize]:
    for marker, body in _segments(data, start, frozenset({SOT, EOI})):
        if marker != SIZ or len(body) < 37:
            continue
        right, bottom, left, top, wide, high, tile_left, tile_top, components = struct.unpack(">8IH", body[2:36])
        precision = max((byte & 0x7F) + 1 for byte in body[36 : 36 + 3 * max(1, components) : 3])
        across = -(-(right - tile_left) // max(1, wide))
        down = -(-(bottom - tile_top) // max(1, high))
        yield StreamSize(right - left, bottom - top, components, precision, max(0, across) * max(0, down))


def _code_streams_of_jp2(data: bytes) -> Iterator[int]:
    """Where the code streams of a JP2 file begin."""
    at = 0
    while at + 8 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if data[at + 4 : at + 8] == b"jp2c":
            yield at + head
        if length < head:  # 0: up to the end of the file; others are not allowed
            return
        at += length


def _jpeg(data: bytes) -> Iterator[StreamSize]:
    """Of SOF, and of the LSE that gives the dimensions of a JPEG-LS stream too large for it."""
    for marker, body in _segments(data, 0, frozenset({SOS, EOI})):
        if marker in SOFS and len(body) >= 6:
            precision, height, width, components = struct.unpack(">BHHB", body[:6])
            yield StreamSize(width, height, components, precision)
        elif marker == LSE and len(body) >= 2 and body[0] == 4:
            each = body[1]
            height, width = (int.from_bytes(body[2 + n * each : 2 + (n + 1) * each], "big") for n in (0, 1))
            yield StreamSize(width, height, 1, 1)


def _check_rle(data: bytes, pixels: int, expected: int) -> None:
    if len(data) < RLE_HEADER_BYTES:
        return
    count, *offsets = struct.unpack("<16L", data[:RLE_HEADER_BYTES])
    if count > expected:
        raise InstanceError(Reason.LARGER_THAN_DECLARED, f"{count} RLE segments, {expected} expected")
    starts = [*offsets[: min(count, RLE_MAX_SEGMENTS)], len(data)]
    for start, end in itertools.pairwise(starts):
        unpacked_at_most = (min(end, len(data)) - start) * RLE_EXPANSION
        if unpacked_at_most > max(RLE_FREE_BYTES, 2 * pixels) and _unpacks_beyond(data, start, end, 2 * pixels):
            raise InstanceError(Reason.LARGER_THAN_DECLARED, f"an RLE segment of more than {2 * pixels} bytes")


def _unpacks_beyond(data: bytes, at: int, end: int, most: int) -> bool:
    """Whether an RLE segment (PS3.5 G.3.2) becomes longer than so many bytes."""
    length = 0
    while at < min(end, len(data)) and length <= most:
        byte = data[at]
        if byte < 128:
            at, length = at + 2 + byte, length + 1 + byte
        else:
            at, length = (at + 1, length) if byte == 128 else (at + 2, length + 257 - byte)
    return length > most
