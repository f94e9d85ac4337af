"""The frames of one series: rendered by whatever process is free, with one set of statistics for each stack.

A process that needs a statistic which it was not given says so; the stack's reference frames are then measured, each by
whatever process is free, and the frame is asked for again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from dicom_pipeline.domain import Frame, InstanceError, Rendering
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.imaging.presets import Preset
from dicom_pipeline.imaging.statistics import Measured, Sample, Statistic, frames_of_stack
from dicom_pipeline.pipeline.renderers.jobs import Job, Missing, RenderFrame, SampleFrame

NEEDED_BY = {"percentile": Statistic.LEVELS, "minmax": Statistic.EXTREMES}
"""What a preset's method needs of every stack; the others may need it of a frame that has no window of its own."""


class Ask(Protocol):
    """Hands in a frame, or says why it cannot be."""

    def __call__(self, *, error: BaseException | None = None) -> None:
        """error: why its stack could not be measured."""
        ...


class Submit(Protocol):
    """Hands in a job."""

    def __call__(self, job: Job, *, first: bool = False) -> Future[Any]:
        """first: before all others."""
        ...


class SeriesFrames:
    """Renders the frames of a series with one preset; each stack has statistics of its own. Safe to share.

    packed: by path, the headers that were read before; the others are read where they are needed.
    """

    def __init__(
        self,
        submit: Submit,
        preset: Preset,
        reference_frames: Sequence[Frame],
        packed: Mapping[Path, PackedFile | None] = MappingProxyType({}),
    ) -> None:
        self.preset = preset
        self._packed = packed
        self._submit = submit
        self._reference_frames = tuple(reference_frames)
        self._lock = threading.Lock()
        self._stacks: dict[int, Measured] = {}
        self._waiting: dict[tuple[int, Statistic], list[Ask]] = {}

    def render(self, frame: Frame) -> Rendering:
        """The rendering of a frame. Raises InstanceError."""
        return self.submit(frame).result()

    def submit(self, frame: Frame) -> Future[Rendering]:
        """Ask for the rendering of a frame; the future fails with InstanceError where there can be none."""
        wanted: Future[Rendering] = Future()
        needed = NEEDED_BY.get(self.preset.method)
        ask = partial(self._ask, frame, wanted)
        if needed is None:
            ask()
        else:
            self._when_measured(frame.stack, needed, ask)
        return wanted

    def _ask(self, frame: Frame, wanted: Future[Rendering], error: BaseException | None = None) -> None:
        """Hand in a frame; error: why its stack could not be measured."""
        if error is not None:
            _settle(wanted, error)
        if wanted.done():
            return
        with self._lock:
            measured = self._known(frame.stack)
        answer = self._submit(RenderFrame(frame, self.preset, measured, self._packed.get(frame.path)))
        answer.add_done_callback(partial(self._answered, frame, wanted))

    def _answered(self, frame: Frame, wanted: Future[Rendering], answer: Future[Any]) -> None:
        error = answer.exception()
        if error is None and isinstance(answer.result(), Missing):
            self._when_measured(frame.stack, answer.result().statistic, partial(self._ask, frame, wanted))
            return
        _settle(wanted, error or Rendering(frame, answer.result()))

    def _known(self, stack: int) -> Measured:
        return self._stacks.get(stack, Measured(by_itself=not self._reference_frames))

    def _when_measured(self, stack: int, statistic: Statistic, ask: Ask) -> None:
        """Ask once the stack's statistic is known; the first who needs it has it measured."""
        with self._lock:
            if known := self._known(stack).has(statistic):
                waiting = []
            else:
                waiting = self._waiting.setdefault((stack, statistic), [])
                waiting.append(ask)
        if known:
            ask()
        elif len(waiting) == 1:
            frames = frames_of_stack(self._reference_frames, stack)
            _Measurement(len(frames), partial(self._measured, stack, statistic)).start(
                [
                    self._submit(SampleFrame(frame, statistic, self._packed.get(frame.path)), first=True)
                    for frame in frames  # first: other frames wait for them
                ]
            )

    def _measured(
        self, stack: int, statistic: Statistic, samples: Sequence[Sample], error: BaseException | None
    ) -> None:
        with self._lock:
            self._stacks[stack] = self._known(stack).with_samples(statistic, samples, self.preset.percentiles)
            waiting = self._waiting.pop((stack, statistic))
        for ask in waiting:
            ask(error=error)


class _Measurement:
    """One statistic of one stack under way. Frames that cannot be decoded are left out: they fail where they are rendered."""

    def __init__(self, frames: int, done: Callable[[Sequence[Sample], BaseException | None], None]) -> None:
        self._left = frames
        self._lock = threading.Lock()
        self._done = done

    def start(self, answers: Sequence[Future[Any]]) -> None:
        """Call `done` with the samples, or with the error of the processes, once all answers are there."""
        for answer in answers:
            answer.add_done_callback(partial(self._one, answers))

    def _one(self, answers: Sequence[Future[Any]], _: Future[Any]) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        errors = [answer.exception() for answer in answers]
        broken = next((error for error in errors if error and not isinstance(error, InstanceError)), None)
        self._done([answer.result() for answer, error in zip(answers, errors, strict=True) if error is None], broken)


def _settle(wanted: Future[Rendering], outcome: Rendering | BaseException) -> None:
    with suppress(InvalidStateError):  # cancelled: nobody waits for it any more
        if isinstance(outcome, BaseException):
            wanted.set_exception(outcome)
        else:
            wanted.set_result(outcome)
