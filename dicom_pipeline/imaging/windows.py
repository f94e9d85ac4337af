"""Windows: from modality values to 8 bits, as lookup over stored values or on an array.

A window is a point function, so it is computed once for each possible stored value and looked up afterwards; both ways
run the same float32 arithmetic and give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Span:
    """A linear window by its ends, in modality units (HU for CT)."""

    low: float
    high: float

    @classmethod
    def of(cls, width: float, level: float) -> Span:
        """The span of a width and level."""
        return cls(level - width / 2, level + width / 2)


def rescale(values: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """Modality values, float32: stored * slope + intercept (PS3.3 C.11.1.1.2)."""
    return values.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def to_grey(values: npt.NDArray[np.float32], span: Span) -> npt.NDArray[np.uint8]:
    """Values clipped to the span and spread over 0..255, rounded half to even."""
    low, high = np.float32(span.low), np.float32(span.high)
    if not high > low:
        return np.where(values > low, np.uint8(255), np.uint8(0))
    scaled = (np.clip(values, low, high) - low) / (high - low) * np.float32(255)
    return np.rint(scaled).astype(np.uint8)
