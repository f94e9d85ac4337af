"""What some presets must know of a whole stack before they can render a frame of it: how its values are spread.

`ReferenceFrames` measures where it is asked; `Given` holds what was measured elsewhere, so that frames of one stack can be
rendered by several processes and still get one window.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Frame, InstanceError, Reason
from dicom_pipeline.imaging import voi
from dicom_pipeline.imaging.decoding.frames import Stored, decode
from dicom_pipeline.imaging.decoding.limits import Limits
from dicom_pipeline.imaging.windows import Levels, Span, full_span

LEVEL_STEP = 4
"""Percentiles are taken of every fourth row and column."""

Sample = npt.NDArray[np.float32]
"""Modality values of a frame, float32 of shape (n,)."""


class Statistic(StrEnum):
    """What is measured of a stack."""

    LEVELS = "levels"
    EXTREMES = "extremes"


class Statistics(Protocol):
    """Where a renderer asks for the statistics of a stack. Both raise InstanceError; NotMeasuredError where none were given."""

    def levels(self, stored: Stored, stack: int) -> Levels:
        """How the values of the frame's stack are spread."""
        ...

    def extremes(self, stored: Stored, stack: int) -> Span:
        """From the lowest to the highest value of the frame's stack."""
        ...


class NotMeasuredError(InstanceError):
    """The frame needs a statistic of its stack that was not given."""

    def __init__(self, statistic: Statistic) -> None:
        self.statistic = statistic
        super().__init__(Reason.RENDER_FAILED, f"{statistic.value} not measured")


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a stack; None is not measured yet. by_itself: each frame is measured by itself."""

    levels: Levels | None = None
    extremes: Span | None = None
    by_itself: bool = False

    def has(self, statistic: Statistic) -> bool:
        """Whether a statistic need not be measured any more."""
        return self.by_itself or getattr(self, statistic.value) is not None

    def with_samples(
        self, statistic: Statistic, samples: Sequence[Sample], percentiles: tuple[float, float]
    ) -> Measured:
        """This and a statistic of samples of the stack's reference frames; without any sample, each frame by itself."""
        if not samples:
            return replace(self, by_itself=True)
        if statistic is Statistic.LEVELS:
            return replace(self, levels=Levels.of(samples, percentiles))
        return replace(self, extremes=full_span(samples))


@dataclass(frozen=True, slots=True)
class Given:
    """Statistics that were measured before."""

    measured: Measured
    percentiles: tuple[float, float]

    def levels(self, stored: Stored, stack: int) -> Levels:
        """How the values of the frame's stack are spread."""
        del stack
        levels = self._known(Statistic.LEVELS, stored).levels
        assert levels is not None
        return levels

    def extremes(self, stored: Stored, stack: int) -> Span:
        """From the lowest to the highest value of the frame's stack."""
        del stack
        extremes = self._known(Statistic.EXTREMES, stored).extremes
        assert extremes is not None
        return extremes

    def _known(self, statistic: Statistic, stored: Stored) -> Measured:
        if getattr(self.measured, statistic.value) is not None:
            return self.measured
        if not self.measured.by_itself:
            raise NotMeasuredError(statistic)
        return Measured().with_samples(statistic, [sample_of(stored, statistic)], self.percentiles)


class ReferenceFrames:
    """Statistics of the reference frames of a series, measured when they are first needed; safe to share.

    Of the frame itself where there are none, or none of them can be decoded.
    """

    def __init__(self, frames: Sequence[Frame], limits: Limits, percentiles: tuple[float, float]) -> None:
        self.frames = tuple(frames)
        self._limits = limits
        self._percentiles = percentiles
        self._lock = threading.Lock()
        self._measured: dict[int, Measured] = {}

    def levels(self, stored: Stored, stack: int) -> Levels:
        """How the values of the frame's stack are spread."""
        return Given(self._of(Statistic.LEVELS, stack), self._percentiles).levels(stored, stack)

    def extremes(self, stored: Stored, stack: int) -> Span:
        """From the lowest to the highest value of the frame's stack."""
        return Given(self._of(Statistic.EXTREMES, stack), self._percentiles).extremes(stored, stack)

    def _of(self, statistic: Statistic, stack: int) -> Measured:
        with self._lock:
            known = self._measured.get(stack, Measured(by_itself=not self.frames))
            if not known.has(statistic):
                known = known.with_samples(statistic, list(self._samples(stack, statistic)), self._percentiles)
            self._measured[stack] = known
            return known

    def _samples(self, stack: int, statistic: Statistic) -> Iterator[Sample]:
        for frame in frames_of_stack(self.frames, stack):
            try:
                yield sample_of(decode(frame, self._limits), statistic)
            except InstanceError:
                continue  # it stands with its reason where it is rendered; the others make the statistics


def frames_of_stack(frames: Sequence[Frame], stack: int) -> Sequence[Frame]:
    """The frames that are measured for a stack: its own; all of the series where none is its own."""
    return [frame for frame in frames if frame.stack == stack] or frames


def sample_of(stored: Stored, statistic: Statistic) -> Sample:
    """What a frame adds to a statistic of its stack: every fourth row and column, or its two ends. Raises InstanceError."""
    if statistic is Statistic.LEVELS:
        return sample(stored, LEVEL_STEP)
    span = full_span([sample(stored, 1)])
    return np.array([span.low, span.high], np.float32)


def sample(stored: Stored, step: int) -> Sample:
    """Modality values of every step-th row and column, padding left out unless nothing remains. Raises InstanceError."""
    values: npt.NDArray[Any] = stored.values[::step, ::step]
    if values.ndim == 3:
        values = values.mean(axis=2)
    padding = voi.padding_range(stored)
    if padding is not None:
        inside = values[(values < padding[0]) | (values > padding[1])]
        values = inside if inside.size else values
    result = voi.modality_values(values, stored).ravel()
    finite = result[np.isfinite(result)]
    if not finite.size:
        raise InstanceError(Reason.RENDER_FAILED, "no finite pixel value")
    return finite
