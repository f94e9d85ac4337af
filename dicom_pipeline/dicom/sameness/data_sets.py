"""A data set as its elements stand, in any transfer syntax, for comparing two of them (PS3.5 section 7).

Stricter than a reader that has to make the best of a file: whatever is not as the standard says is a doubt. Values stay slices
of the content, so that a large file costs no memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
TRAILING_PADDING = 0xFFFCFFFC
DEEPEST = 32
"""Sequences within sequences; the standard's own go to about ten."""

SHORT = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_16}
LONG = {vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32}


class DoubtError(Exception):
    """What is there cannot be compared with certainty. Its text names no value."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """Encapsulated pixel data (PS3.5 A.4): the basic offset table, then the fragments."""

    parts: tuple[memoryview, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """One element. vr: empty where the transfer syntax or the writer did not know it (implicit VR, UN).

    value: its bytes as they stand, the items of a sequence, or fragments. big: whether numbers are big endian.
    """

    vr: str
    value: memoryview | tuple[Elements, ...] | Fragments
    big: bool = False


Elements = Mapping[int, Element]
"""A data set without group lengths and trailing padding: tag -> element."""


def read_data_set(content: memoryview, syntax: UID) -> Elements:
    """The elements of a whole data set. Raises DoubtError."""
    reader = _Reader(content, big=not syntax.is_little_endian)
    return reader.elements(0, len(content), implicit=syntax.is_implicit_VR, depth=0)[0]


def read_items(value: memoryview) -> tuple[Elements, ...]:
    """The items of a sequence that a writer took for an unknown element: in implicit VR (PS3.5 6.2.2). Raises DoubtError."""
    return _Reader(value, big=False).items(0, len(value), implicit=True, depth=1)[0]


def inflated(content: memoryview, syntax: UID, most: int) -> memoryview:
    """The content of a data set, inflated where its transfer syntax deflates. Raises DoubtError beyond `most` bytes."""
    if syntax != DeflatedExplicitVRLittleEndian:
        return content
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        result = inflater.decompress(content, most)
    except zlib.error as error:
        raise DoubtError("cannot be inflated") from error
    # after the end may come a byte that makes the length even (PS3.5 A.5), and from some writers a checksum (RFC 1952)
    rest, checksum = inflater.unused_data, struct.pack("<LL", zlib.crc32(result), len(result))
    if not inflater.eof or rest.removeprefix(checksum) not in (b"", b"\0"):
        raise DoubtError("inflates to too much, or ends early")
    return memoryview(result)


class _Reader:
    """Reads elements at places of a content; `end` None is a length that its delimiter ends. Gives what it read and where
    that ended.
    """

    def __init__(self, content: memoryview, *, big: bool) -> None:
        self._content = content
        self._big = big
        order = ">" if big else "<"
        self._tag_and_length = struct.Struct(f"{order}HHL")
        self._short = struct.Struct(f"{order}HH2sH")
        self._long = struct.Struct(f"{order}L")

    def elements(self, at: int, end: int | None, *, implicit: bool, depth: int) -> tuple[Elements, int]:
        if depth > DEEPEST:
            raise DoubtError("sequences too deep")
        found: dict[int, Element] = {}
        last = -1
        while at != end:
            tag, length, at, vr = self._header(at, implicit=implicit)
            if tag == ITEM_END and end is None:
                return found, at
            if tag <= last or tag >> 16 == 0xFFFE:
                raise DoubtError("elements out of order")
            last = tag
            element, at = self._element(tag, vr, length, at, implicit=implicit, depth=depth)
            if tag & 0xFFFF and tag != TRAILING_PADDING:
                found[tag] = element
            if end is not None and at > end:
                raise DoubtError("an element goes beyond its item")
        return found, at

    def items(self, at: int, end: int | None, *, implicit: bool, depth: int) -> tuple[tuple[Elements, ...], int]:
        found: list[Elements] = []
        while at != end:
            tag, length, at = self._delimiter(at)
            if tag == SEQUENCE_END and end is None:
                return tuple(found), at
            if tag != ITEM:
                raise DoubtError("a sequence holds something else than items")
            stop = None if length == UNDEFINED else self._stop(at, length)
            item, at = self.elements(at, stop, implicit=implicit, depth=depth)
            found.append(item)
            if end is not None and at > end:
                raise DoubtError("an item goes beyond its sequence")
        return tuple(found), at

    def _element(self, tag: int, vr: bytes, length: int, at: int, *, implicit: bool, depth: int) -> tuple[Element, int]:
        known = "" if vr in (b"", b"UN") else vr.decode()
        if length == UNDEFINED:
            if tag == PIXEL_DATA and vr in (b"OB", b"OW"):
                parts, at = self._fragments(at)
                return Element(known, Fragments(parts)), at
            if known not in ("", "SQ") or (vr == b"UN" and self._big):
                raise DoubtError("an undefined length where there may be none")
            items, at = self.items(at, None, implicit=implicit or not known, depth=depth + 1)
            return Element(known, items), at
        stop = self._stop(at, length)
        if known == "SQ" or (implicit and vr_of(tag) == "SQ"):
            items, at = self.items(at, stop, implicit=implicit, depth=depth + 1)
            return Element("SQ", items), at
        return Element(known, self._content[at:stop], self._big), stop

    def _fragments(self, at: int) -> tuple[tuple[memoryview, ...], int]:
        parts: list[memoryview] = []
        while True:
            tag, length, at = self._delimiter(at)
            if tag == SEQUENCE_END:
                return tuple(parts), at
            if tag != ITEM or length == UNDEFINED:
                raise DoubtError("no fragment where one must be")
            stop = self._stop(at, length)
            parts.append(self._content[at:stop])
            at = stop

    def _header(self, at: int, *, implicit: bool) -> tuple[int, int, int, bytes]:
        """Tag, length, where the value begins and the VR (empty in implicit VR and for delimiters)."""
        tag, length, after = self._delimiter(at)
        if implicit or tag >> 16 == 0xFFFE:
            return tag, length, after, b""
        _, _, vr, length = self._short.unpack_from(self._content, at)
        if vr in SHORT:
            return tag, length, after, vr
        if vr not in LONG:
            raise DoubtError("no VR where one must be")
        stop = self._stop(after, 4)
        return tag, int(self._long.unpack_from(self._content, after)[0]), stop, vr

    def _delimiter(self, at: int) -> tuple[int, int, int]:
        after = self._stop(at, 8)
        group, number, length = self._tag_and_length.unpack_from(self._content, at)
        return group << 16 | number, length, after

    def _stop(self, at: int, length: int) -> int:
        if at + length > len(self._content):
            raise DoubtError("ends early")
        return at + length


def vr_of(tag: int) -> str:
    """The VR that the data dictionary (PS3.6) gives an element; empty for private and unknown ones."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""
