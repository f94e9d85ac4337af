"""Batches filled across whatever comes: series, studies, files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from dicom_pipeline.domain import Pixels, Vector
from dicom_pipeline.encoders.encoder import Encoder

T = TypeVar("T")


def encode_stream(
    encoder: Encoder, items: Iterable[tuple[T, Pixels] | None], *, batch_size: int = 8
) -> Iterator[tuple[T, Vector] | None]:
    """(token, rendering) pairs in -> (token, vector) pairs out, in order; at most one batch is held.

    None in the stream says that nothing waits now: a part-filled batch goes through at once, and the None is passed on.
    """
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
