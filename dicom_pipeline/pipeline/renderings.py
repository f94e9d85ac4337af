"""Renderings made ahead of the encoder by threads, given out in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dicom_pipeline.domain import Frame, InstanceError, Rendering
from dicom_pipeline.imaging import SeriesRenderer

T = TypeVar("T")

Task = tuple[T, SeriesRenderer, Frame]
"""A token of the caller's, and the frame to render with its series' renderer."""


def render_ahead(
    tasks: Iterable[Task[T] | None], *, threads: int, depth: int, progress: Callable[[], object] = lambda: None
) -> Iterator[tuple[T, Frame, Rendering | InstanceError] | None]:
    """(token, frame, rendering or why there is none) of each task, in order; at most `depth` are under way.

    A None in the tasks says that nothing waits now: all that is under way is given out first, then the None.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="render") as pool:
        ahead: deque[tuple[T, Frame, Future[Rendering]]] = deque()
        for task in tasks:
            if task is None:
                yield from _drained(ahead, 0, progress)
                yield None
                continue
            token, renderer, frame = task
            ahead.append((token, frame, pool.submit(renderer.render, frame)))
            yield from _drained(ahead, depth, progress)
        yield from _drained(ahead, 0, progress)


def _drained(
    ahead: deque[tuple[T, Frame, Future[Rendering]]], keep: int, progress: Callable[[], object]
) -> Iterator[tuple[T, Frame, Rendering | InstanceError]]:
    """Give out renderings, oldest first, until at most `keep` are under way."""
    while len(ahead) > keep:
        progress()
        token, frame, future = ahead.popleft()
        try:
            made: Rendering | InstanceError = future.result()  # a hanging decoder is waited for here, in silence
        except InstanceError as error:
            made = error
        yield token, frame, made
