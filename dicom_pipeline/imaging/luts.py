"""Lookup tables as files hold them: palettes, Modality LUTs and VOI LUTs.

Descriptors are believed only as far as the data agree: entries of 8 bits come in words or packed, counts are read with the
wrong sign, and first values too. Sources: PS3.3 C.11.1.1.1 (Modality LUT), C.11.2.1.1 (VOI LUT), C.7.6.3.1.5 and
C.7.6.3.1.6 (palettes), C.7.9.2 (segmented palettes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import read_value
from dicom_pipeline.domain import InstanceError, Reason

MAX_ENTRIES = 65536
COLOURS = ("Red", "Green", "Blue")
DISCRETE, LINEAR, INDIRECT = 0, 1, 2
"""Segments of a segmented palette: values as they stand, a straight line, other segments once more."""


class SegmentError(ValueError):
    """A segment of an unknown type, or one that ends with the data or has nothing to start from."""


@dataclass(frozen=True, slots=True)
class LookupTable:
    """entries: uint16 array (n,); first: the input value that the first entry stands for; bits: width of an entry."""

    entries: npt.NDArray[np.uint16]
    first: int
    bits: int

    def look_up(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Entries for whole-number values of any shape and type; values beyond the table take its first or last entry."""
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def table_of(item: Dataset, inputs: tuple[float, float], *, big_endian: bool, name: str) -> LookupTable:
    """The table in an item of a Modality LUT or VOI LUT Sequence.

    inputs: lowest and highest value that may be looked up, which tells how the first value is to be read. name: of the
    sequence, for the reason. Raises InstanceError: INVALID_ATTRIBUTE where descriptor and data do not make a table.
    """
    return _table(item, "LUTDescriptor", "LUTData", inputs, big_endian, name)


def palette_of(dataset: Dataset, inputs: tuple[float, float], *, big_endian: bool) -> tuple[LookupTable, ...]:
    """Red, green and blue tables of a PALETTE COLOR image, all of one width. Raises InstanceError where one is missing."""
    tables = []
    for colour in COLOURS:
        names = f"{colour}PaletteColorLookupTableDescriptor", f"{colour}PaletteColorLookupTableData"
        if read_value(dataset, names[1]) is None and read_value(dataset, f"Segmented{names[1]}") is not None:
            tables.append(_segmented(dataset, colour, inputs, big_endian))
        elif read_value(dataset, names[0]) is None or read_value(dataset, names[1]) is None:
            raise InstanceError(Reason.MISSING_ATTRIBUTE, "palette lookup tables")
        else:
            tables.append(_table(dataset, *names, inputs, big_endian, names[1]))
    highest = max(int(table.entries.max()) for table in tables)
    bits = 8 if highest < 256 else max(table.bits for table in tables)  # 8 bits in words, whatever is declared
    return tuple(LookupTable(table.entries, table.first, bits) for table in tables)


def _table(
    holder: Dataset, descriptor: str, data: str, inputs: tuple[float, float], big_endian: bool, name: str
) -> LookupTable:
    count, first, declared = _descriptor(holder, descriptor, inputs, name)
    raw = _little_endian_bytes(read_value(holder, data), big_endian)
    entries = _entries(raw, count)
    if entries is None:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name}: {len(raw)} bytes for {count} entries")
    return LookupTable(entries, first, _width(int(entries.max()), declared))


def _descriptor(holder: Dataset, keyword: str, inputs: tuple[float, float], name: str) -> tuple[int, int, int]:
    """Number of entries, first value and declared bits, whatever sign they were written with."""
    values = read_value(holder, keyword)
    try:
        count, first, bits = (int(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name}: a descriptor without three numbers") from error
    return count % 65536 or MAX_ENTRIES, _first(first, count % 65536 or MAX_ENTRIES, inputs), bits % 65536


def _first(written: int, count: int, inputs: tuple[float, float]) -> int:
    """The first value as unsigned, or as signed where inputs may be negative; the other one where only it meets inputs."""
    unsigned = written % 65536
    signed = unsigned - 65536 if unsigned >= 32768 else unsigned
    ordered = (signed, unsigned) if inputs[0] < 0 else (unsigned, signed)
    return next((first for first in ordered if first <= inputs[1] and first + count > inputs[0]), ordered[0])


def _little_endian_bytes(value: Any, big_endian: bool) -> bytes:
    """A table's data as 16-bit little-endian words: pydicom gives words as numbers (US, SS) or as they stand (OW)."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        return np.frombuffer(raw[: len(raw) // 2 * 2], ">u2").astype("<u2").tobytes() if big_endian else raw
    numbers = [value] if isinstance(value, int) else value
    try:
        return (np.array([int(number) for number in numbers], np.int64) % 65536).astype("<u2").tobytes()
    except (TypeError, ValueError):
        return b""


def _entries(raw: bytes, count: int) -> npt.NDArray[np.uint16] | None:
    """Words, or bytes where there are only as many bytes (and perhaps one of padding) as entries; None for neither."""
    if len(raw) >= 2 * count:
        return np.frombuffer(raw, "<u2", count).astype(np.uint16)
    if len(raw) in (count, count + count % 2):
        return np.frombuffer(raw, np.uint8, count).astype(np.uint16)
    return None


def _width(highest: int, declared: int) -> int:
    """Bits of an entry: as declared, but enough for the highest, and 8 to 14 where the table reaches just their top."""
    bits = declared if 8 <= declared <= 16 and highest < 1 << declared else 16
    narrower = (width for width in (8, 10, 12, 14) if width < bits and highest < 1 << width)
    return next((width for width in narrower if highest >= 0.98 * ((1 << width) - 1)), bits)


def _segmented(dataset: Dataset, colour: str, inputs: tuple[float, float], big_endian: bool) -> LookupTable:
    name = f"Segmented{colour}PaletteColorLookupTableData"
    count, first, declared = _descriptor(dataset, f"{colour}PaletteColorLookupTableDescriptor", inputs, name)
    try:
        entries = expand(_little_endian_bytes(read_value(dataset, name), big_endian), declared, count)
    except SegmentError as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name}: {error}") from error
    return LookupTable(np.array(entries, np.uint16), first, _width(max(entries), declared))


def expand(raw: bytes, bits: int, count: int) -> list[int]:
    """The first `count` entries of a table in segments of 8 or 16 bits, little endian. Raises SegmentError."""
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").tolist() if bits > 8 else list(raw)
    entries: list[int] = []
    try:
        _append(entries, words, bits, count, 0, count, nested=False)
    except IndexError as error:
        raise SegmentError("ends within a segment") from error
    if len(entries) < count:
        raise SegmentError(f"{len(entries)} of {count} entries")
    return entries[:count]


def _append(
    entries: list[int], words: list[int], bits: int, count: int, position: int, segments: int, *, nested: bool
) -> None:
    """Append the entries of some segments. An indirect segment names others, which hold no indirect one."""
    offset_size = 2 if bits > 8 else 4
    while segments > 0 and len(entries) < count and position + 1 < len(words):
        kind, length = words[position : position + 2]
        position += 2
        if kind == DISCRETE:
            entries += words[position : position + length]
            position += length
        elif kind == LINEAR:
            line = np.linspace(entries[-1], words[position], length + 1)[1:]
            entries += np.rint(line).astype(int).tolist()
            position += 1
        elif kind == INDIRECT and not nested:
            at = sum(words[position + n] << n * 8 * (4 // offset_size) for n in range(offset_size))
            _append(entries, words, bits, count, at // (4 // offset_size), length, nested=True)
            position += offset_size
        else:
            raise SegmentError(f"segment type {kind}")
        segments -= 1
