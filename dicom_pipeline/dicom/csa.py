"""Siemens' CSA headers: the elements of a private attribute (0029,xx10) or (0029,xx20), as texts.

The layout is not published; it is described at https://nipy.org/nibabel/dicom/siemens_csa.html, which this follows.
"""

from __future__ import annotations

import struct

MAX_ELEMENTS, MAX_VALUES = 1000, 10_000
"""More than any scanner writes; what claims more is no such header."""


def csa_elements(raw: bytes) -> dict[str, list[str]]:
    """Element name -> its values that are not empty; {} where the bytes are no CSA header or end early."""
    try:
        return _elements(raw)
    except struct.error:
        return {}


def _elements(raw: bytes) -> dict[str, list[str]]:
    second_form = raw[:4] == b"SV10"
    position = 8 if second_form else 0
    (count,) = struct.unpack_from("<I", raw, position)
    position += 8
    if not 0 < count <= MAX_ELEMENTS:
        return {}
    elements: dict[str, list[str]] = {}
    first_of_all = 0
    for _ in range(count):
        name, _, _, _, values, _ = struct.unpack_from("<64si4siii", raw, position)
        position += 84
        if not 0 <= values <= MAX_VALUES:
            return {}
        found = []
        for _ in range(values):
            numbers = struct.unpack_from("<4i", raw, position)
            first_of_all = first_of_all or numbers[0]  # the first form counts lengths from this on
            length = numbers[1] if second_form else numbers[0] - first_of_all
            position += 16
            if not 0 <= length <= len(raw) - position:
                return elements
            if text := _text(raw[position : position + length]):
                found.append(text)
            position += -(-length // 4) * 4
        elements[_text(name)] = found
    return elements


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").strip()
