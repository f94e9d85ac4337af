"""The tags that stand at the top level of a data set, found by stepping over values: nothing is converted or kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from dicom_pipeline.dicom.sameness.data_sets import ITEM_END, LONG, SEQUENCE_END, UNDEFINED

DELIMITERS = 0xFFFE
"""Group of items and of what ends them: they have no value representation (PS3.5 7.5)."""


def top_level_tags(stream: BinaryIO, *, implicit: bool, little_endian: bool) -> Iterator[int]:
    """Tags from the stream's position to its end, or to where it is cut short or makes no sense.

    What has no defined length is stepped through item by item (PS3.5 7.5), without recursion; an element of undefined
    length and VR UN holds items in Implicit VR Little Endian (PS3.5 6.2.2).
    """
    order = "<" if little_endian else ">"
    plain, explicit, long = (struct.Struct(f"{order}{fields}").unpack for fields in ("HHL", "HH2sH", "L"))
    little = struct.Struct("<HHL").unpack
    nesting: list[
        bool
    ] = []  # of each sequence or item of undefined length that is open: whether what it holds is implicit
    while len(header := stream.read(8)) == 8:
        vr = b""
        if nesting[-1] if nesting else implicit:
            group, element, length = little(header)
        else:
            group, element, vr, length = explicit(header)
            if group == DELIMITERS:
                vr, (_, _, length) = b"", plain(header)
            elif vr in LONG:
                if len(more := stream.read(4)) < 4:
                    return
                (length,) = long(more)
        tag = group << 16 | element
        if tag in (ITEM_END, SEQUENCE_END):
            if not nesting:
                return
            nesting.pop()
            continue
        if not nesting:
            yield tag
        if length == UNDEFINED:
            nesting.append((nesting[-1] if nesting else implicit) or vr == b"UN")
        else:
            stream.seek(length, 1)
