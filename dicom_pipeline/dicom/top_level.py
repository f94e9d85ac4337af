"""The tags that stand at the top level of a data set, found by stepping over values: nothing is converted or kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length has four bytes, behind two that are reserved (PS3.5 7.1.2)."""


def top_level_tags(stream: BinaryIO, *, implicit: bool, little_endian: bool) -> Iterator[int]:
    """Tags from the stream's position to its end, or to where it is cut short or makes no sense.

    What has no defined length is stepped through item by item (PS3.5 7.5), without recursion; an element of undefined
    length and VR UN holds items in Implicit VR Little Endian (PS3.5 6.2.2).
    """
    nesting: list[
        bool
    ] = []  # for each sequence or item of undefined length that is open: whether its content is implicit
    while len(header := stream.read(8)) == 8:
        is_implicit = nesting[-1] if nesting else implicit
        order = "<" if little_endian or is_implicit else ">"
        group, element = struct.unpack(f"{order}HH", header[:4])
        tag = group << 16 | element
        if tag in (ITEM_END, SEQUENCE_END):
            if not nesting:
                return
            nesting.pop()
            continue
        if tag == ITEM or is_implicit:
            (length,) = struct.unpack(f"{order}L", header[4:])
        elif header[4:6] in LONG_VRS:
            if len(more := stream.read(4)) < 4:
                return
            (length,) = struct.unpack(f"{order}L", more)
        else:
            (length,) = struct.unpack(f"{order}H", header[6:])
        if not nesting:
            yield tag
        if length == UNDEFINED:
            nesting.append(is_implicit or header[4:6] == b"UN")
        else:
            stream.seek(length, 1)
