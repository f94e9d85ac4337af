"""Windows: from modality values to 8 bits, as lookup over stored values or on an array.

A window is a point function, so it is computed once for each possible stored value and looked up afterwards; both ways
run the same float32 arithmetic and give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
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


NEAR_WHITE = 0.75
"""Where the middle value lies above this share of a window, most of the picture is near white."""

NEAR_BLACK = 0.1
"""Where even the brightest values lie below this share of a window, the picture is black."""


@dataclass(frozen=True, slots=True)
class Levels:
    """How the values of a stack are spread: its percentile window and its middle value."""

    window: Span
    median: float

    @classmethod
    def of(cls, samples: Sequence[npt.NDArray[np.float32]], percentiles: tuple[float, float]) -> Levels:
        """The levels of some values; percentiles: low and high end of the window, in percent."""
        ends = (percentiles[0], 50, percentiles[1])
        low, median, high = (float(value) for value in np.percentile(np.concatenate(samples), ends))
        return cls(Span(low, high), median)

    def suits(self, span: Span) -> bool:
        """Whether a window shows these values: neither most of them near white, nor all of them black.

        Real-valued inversion recovery does not suit its percentiles: air is 0, at the top, and tissue reaches far below.
        """
        if not span.high > span.low:
            return False
        middle, bright = ((value - span.low) / (span.high - span.low) for value in (self.median, self.window.high))
        return middle <= NEAR_WHITE and bright >= NEAR_BLACK


def full_span(samples: Sequence[npt.NDArray[np.float32]]) -> Span:
    """From the lowest to the highest of some values."""
    return Span(float(min(sample.min() for sample in samples)), float(max(sample.max() for sample in samples)))
