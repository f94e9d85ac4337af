"""Batches filled across whatever comes: series, studies, files; and run in one shape, so that bits do not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Pixels, Vector
from dicom_pipeline.encoders.encoder import Encoder

T = TypeVar("T")


def encode_stream(encoder: Encoder, items: Iterable[tuple[T, Pixels] | None]) -> Iterator[tuple[T, Vector] | None]:
    """(token, rendering) pairs in -> (token, vector) pairs out, in order; at most one batch is held.

    None in the stream says that nothing waits now: a part-filled batch goes through at once, and the None is passed on.
    """
    batch_size = encoder.batch_size
    tokens: list[T] = []
    pixels: list[Pixels] = []
    for item in items:
        if item is not None:
            tokens.append(item[0])
            pixels.append(item[1])
        if tokens and (item is None or len(tokens) == batch_size):
            yield from zip(tokens, encoder.encode_images(np.stack(pixels)), strict=True)
            tokens, pixels = [], []
        if item is None:
            yield None
    if tokens:
        yield from zip(tokens, encoder.encode_images(np.stack(pixels)), strict=True)


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
