"""Whether two data sets say the same in their attributes, whatever transfer syntax and lengths they were written with.

Bytes are compared, never converted values: "1.0" is not "1.00". What encoding alone decides is let pass: padding (PS3.5 6.2),
byte order, a VR that one side does not know, how the length of sequences and items is told.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dicom_pipeline.dicom.sameness.data_sets import DoubtError, Element, Elements, Fragments, read_items, vr_of

PLAIN = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})
"""Text of the default repertoire, where spaces around each value say nothing and a backslash always divides values."""

TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""Text in which only the end is padding: a backslash may be half of a character, and leading spaces may be meant."""

UNITS = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4}
UNITS |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8, "OB": 1} | dict.fromkeys(PLAIN | TEXT, 1)
"""Bytes that byte order turns around."""


def same_attributes(first: Elements, second: Elements, but: Collection[int] = ()) -> bool:
    """Whether both have the same elements with the same values, nested ones included. but: tags that do not count.

    Raises DoubtError where that cannot be said with certainty.
    """
    tags = first.keys() - set(but)
    return tags == second.keys() - set(but) and all(same_element(tag, first[tag], second[tag]) for tag in tags)


def same_element(tag: int, first: Element, second: Element) -> bool:
    """As same_attributes, for one element."""
    one, other = first.value, second.value
    if isinstance(one, tuple) or isinstance(other, tuple):
        items, others = _items(first), _items(second)
        return len(items) == len(others) and all(map(same_attributes, items, others))
    if isinstance(one, Fragments) or isinstance(other, Fragments):
        return one == other
    vr = _vr(tag, first.vr, second.vr)
    return vr is not None and (
        (one == other and first.big == second.big) or _plain(vr, first, one) == _plain(vr, second, other)
    )


def _items(element: Element) -> tuple[Elements, ...]:
    if isinstance(element.value, tuple):
        return element.value
    if element.vr or element.big or isinstance(element.value, Fragments):
        raise DoubtError("a sequence on one side only")
    return read_items(element.value)


def _little_endian(element: Element) -> memoryview:
    """An element's bytes in little endian. Raises DoubtError where its VR does not say what is to be turned around."""
    assert isinstance(element.value, memoryview)
    if not element.big:
        return element.value
    size = UNITS.get(element.vr, 0)
    if not size or len(element.value) % size:
        raise DoubtError("big endian of an unknown kind")
    return memoryview(np.frombuffer(element.value, f"u{size}").byteswap().tobytes()) if size > 1 else element.value


def _vr(tag: int, first: str, second: str) -> str | None:
    """The VR that both sides mean; None where they contradict each other. OB and OW are the same bytes in little endian."""
    if first and second:
        return first if first == second else "OW" if {first, second} == {"OB", "OW"} else None
    return first or second or vr_of(tag)


def _plain(vr: str, element: Element, value: memoryview) -> bytes | list[bytes]:
    """A value without its padding."""
    if vr in PLAIN:
        return [part.strip(b" \0") for part in bytes(value).split(b"\\")]
    if vr in TEXT:
        return bytes(value).rstrip(b" \0")
    content = bytes(_little_endian(element))
    return content + b"\0" * (len(content) % 2)
