"""Renderings made ahead of the encoder, given out in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Protocol, TypeVar

from dicom_pipeline.domain import Frame, InstanceError, Rendering

T = TypeVar("T")


class Renderer(Protocol):
    """Renders the frames of one series, elsewhere."""

    def submit(self, frame: Frame) -> Future[Rendering]:
        """The future fails with InstanceError where there can be no rendering."""
        ...


Task = tuple[T, Renderer, Frame]
"""A token of the caller's, and the frame to render with its series' renderer."""


def render_ahead(
    tasks: Iterable[Task[T] | None], *, depth: int, progress: Callable[[], object] = lambda: None
) -> Iterator[tuple[T, Frame, Rendering | InstanceError] | None]:
    """(token, frame, rendering or why there is none) of each task, in order; at most `depth` are under way.

    A None in the tasks says that nothing waits now: all that is under way is given out first, then the None.
    """
    ahead: deque[tuple[T, Frame, Future[Rendering]]] = deque()
    try:
        for task in tasks:
            if task is None:
                yield from _drained(ahead, 0, progress)
                yield None
                continue
            token, renderer, frame = task
            ahead.append((token, frame, renderer.submit(frame)))
            yield from _drained(ahead, depth, progress)
        yield from _drained(ahead, 0, progress)
    finally:
        for _, _, unwanted in ahead:
            unwanted.cancel()


def _drained(
    ahead: deque[tuple[T, Frame, Future[Rendering]]], keep: int, progress: Callable[[], object]
) -> Iterator[tuple[T, Frame, Rendering | InstanceError]]:
    """Give out renderings, oldest first, until at most `keep` are under way."""
    while len(ahead) > keep:
        progress()
        token, frame, future = ahead.popleft()
        try:
            made: Rendering | InstanceError = future.result()
        except InstanceError as error:
            made = error
        yield token, frame, made
