"""Attributes of received data sets, where anything may stand: other VRs than the standard's, several values, none, garbage.

A missing attribute and one that cannot be read look the same to a caller; neither raises. pydicom's warnings quote values
and are silenced.
"""

from __future__ import annotations

import math
import struct
import zlib
from decimal import Decimal
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName

from dicom_pipeline.dicom.warnings import suppress_warnings

MALFORMED = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises of values that it cannot convert, and of sequences that end early or whose items lack what it needs."""

UNPARSABLE = (*MALFORMED, InvalidDicomError, zlib.error)
"""What pydicom raises while it reads bytes that are no data set, or one that is broken."""


def read_value(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value, None where it is missing, empty or cannot be converted from what was received."""
    try:
        with suppress_warnings():
            value = dataset.get(keyword)
    except MALFORMED:
        return None
    return None if isinstance(value, str) and value == "" else value


def items_of(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none where it is missing, empty or no sequence."""
    value = read_value(dataset, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()


def nested_items(dataset: Dataset) -> tuple[Dataset, ...]:
    """The first item of each sequence in a data set: of a functional group's, the macros (PS3.3 C.7.6.16)."""
    found = []
    for tag in sorted(dataset.keys()):
        try:
            with suppress_warnings():
                value = dataset[tag].value
        except MALFORMED:
            continue
        if isinstance(value, Sequence) and value:
            found.append(value[0])
    return tuple(found)


def private_value(dataset: Dataset, group: int, offset: int, creator: str) -> Any:
    """The value of a private attribute under its creator (PS3.5 7.8.1); None where it is missing or cannot be read.

    Values that came without a VR (UN) are bytes.
    """
    try:
        with suppress_warnings():
            return dataset.get_private_item(group, offset, creator).value
    except MALFORMED:
        return None


def texts_of(dataset: Dataset, keyword: str) -> list[str]:
    """An attribute's values as they stand; none where it is missing, no text (bytes, a sequence) or cannot be read."""
    try:
        with suppress_warnings():
            value = dataset.get(keyword)
            several = hasattr(value, "__iter__") and not isinstance(value, str | bytes | PersonName)
            values = list(value) if several else [value]
            return [str(v) for v in values if isinstance(v, str | PersonName | int | float | Decimal)]
    except MALFORMED:
        return []


def first_number(value: Any) -> float | None:
    """The first of one or several values as a finite number."""
    if value is not None and hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        value = next(iter(value), None)
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def numbers_of(value: Any, count: int) -> tuple[float, ...]:
    """Exactly `count` finite numbers, or () where the attribute does not hold them."""
    if value is None or isinstance(value, str | bytes) or not hasattr(value, "__len__") or len(value) != count:
        return ()
    numbers = tuple(first_number(part) for part in value)
    return tuple(n for n in numbers if n is not None) if None not in numbers else ()


def integer_of(dataset: Dataset, keyword: str) -> int | None:
    """An attribute's first value as an integer; None where there is none that is a whole number."""
    number = first_number(read_value(dataset, keyword))
    return int(number) if number is not None and number == int(number) else None


def frames_of(dataset: Dataset) -> int | None:
    """Number of Frames, None where the instance states none that can be."""
    number = integer_of(dataset, "NumberOfFrames")
    return number if number is not None and 0 < number < 2**31 else None
