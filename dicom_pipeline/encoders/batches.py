"""Batches filled across whatever comes: series, studies, files; and run in one shape, so that bits do not depend on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Pixels, Vector
from dicom_pipeline.encoders.encoder import Encoder

T = TypeVar("T")


def encode_stream(encoder: Encoder, items: Iterable[tuple[T, Pixels] | None]) -> Iterator[tuple[T, Vector] | None]:
    """(token, rendering) pairs in -> (token, vector) pairs out, in order; at most two batches are held.

    The encoder runs in a thread of its own: while it works on a batch, the next one is filled, and whoever takes the results
    makes reports of those that are done. None in the stream says that nothing waits now: what there is goes through, and the
    None is passed on.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="encoder") as thread:
        running: deque[tuple[list[T], Future[npt.NDArray[np.float32]]]] = deque()
        tokens: list[T] = []
        pixels: list[Pixels] = []
        for item in items:
            if item is not None:
                tokens.append(item[0])
                pixels.append(item[1])
            if tokens and (item is None or len(tokens) == encoder.batch_size):
                running.append((tokens, thread.submit(encoder.encode_images, np.stack(pixels))))
                tokens, pixels = [], []
            yield from _results(running, 0 if item is None else 1)
            if item is None:
                yield None
        if tokens:
            running.append((tokens, thread.submit(encoder.encode_images, np.stack(pixels))))
        yield from _results(running, 0)


def _results(running: deque[tuple[list[T], Future[npt.NDArray[np.float32]]]], most: int) -> Iterator[tuple[T, Vector]]:
    """What the oldest batches gave, until at most so many run."""
    while len(running) > most:
        tokens, vectors = running.popleft()
        yield from zip(tokens, vectors.result(), strict=True)


def run_in_one_shape(
    run: Callable[[npt.NDArray[np.generic]], npt.NDArray[np.float32]], rows: npt.NDArray[np.generic], size: int
) -> npt.NDArray[np.float32]:
    """`run` over rows (N, ...) in chunks of exactly `size` rows, the last one filled up with zeros: float32 (N, D).

    Matrix kernels add in an order that depends on the shape, so a row's last bits would otherwise change with what else
    is in its batch, and with them the UID of the report that states its score.
    """
    parts = []
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        filler = np.zeros((size - len(chunk), *rows.shape[1:]), rows.dtype)
        parts.append(run(np.concatenate([chunk, filler]))[: len(chunk)])
    return np.concatenate(parts)
