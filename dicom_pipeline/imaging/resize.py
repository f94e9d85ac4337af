"""Square an image and bring it to 448 x 448: the four named resizes and two named geometries.

`tf-bilinear` is tf.image.resize(method="bilinear", antialias=False) in float32, then truncation to uint8: what
MedSigLIP's evaluations used (model card). It reads four source pixels for each output pixel, so a large image need not
be windowed as a whole: `taps` says which rows and columns matter.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_pipeline.domain import IMAGE_SIZE, Pixels

BLOCK = 64
"""Output rows at a time: what they need stays in a core's cache, and below the size at which memory is mapped anew."""

PIL_FILTERS = {"pil-bilinear": Image.Resampling.BILINEAR, "pil-bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, slots=True)
class Taps:
    """Where the output samples of one axis fall in the source.

    lower, upper: int arrays (448,), indices into `needed`; weight: float32 (448,), share of the upper sample.
    needed: int array of the source indices that are read at all; -1 stands for padding. All arrays are read-only.
    """

    needed: npt.NDArray[np.intp]
    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]


@functools.lru_cache(maxsize=16)
def taps(length: int, padded: int) -> Taps:
    """Taps of an axis of `length` samples centred in `padded` ones (floor of the difference before); the last are kept.

    Half-pixel centres in float32, as TensorFlow computes them: x = (i + 0.5) * (n / 448) - 0.5.
    """
    scale = np.float32(padded / IMAGE_SIZE)
    centre = (np.arange(IMAGE_SIZE, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(centre)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(np.ceil(centre), padded - 1).astype(np.intp)
    needed, inverse = np.unique(np.concatenate([lower, upper]), return_inverse=True)
    source = needed - (padded - length) // 2
    source[(source < 0) | (source >= length)] = -1
    weight = centre - floor
    for array in (source, inverse, weight):  # whoever asks next gets the same arrays
        array.flags.writeable = False
    return Taps(source, inverse[:IMAGE_SIZE], inverse[IMAGE_SIZE:], weight)


def gather(image: npt.NDArray[Any], rows: Taps, columns: Taps) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The source pixels that the taps read, (len(rows.needed), len(columns.needed), ...), and where they are real."""
    real = np.logical_and.outer(rows.needed >= 0, columns.needed >= 0)
    if real.all() and len(rows.needed) == image.shape[0] and len(columns.needed) == image.shape[1]:
        return image, real
    picked = image[np.maximum(rows.needed, 0)][:, np.maximum(columns.needed, 0)]
    return picked, real


def interpolate(picked: npt.NDArray[np.uint8], rows: Taps, columns: Taps) -> npt.NDArray[np.uint8]:
    """Bilinear sampling of gathered uint8 pixels (r, c) or (r, c, 3) -> (448, 448) or (448, 448, 3), truncated.

    `top + (bottom - top) * fy` with `top = left + (right - left) * fx`, in float32: TensorFlow's order of operations.
    """
    values = picked.astype(np.float32)
    extra = (1,) * (values.ndim - 2)
    fx = columns.weight.reshape(1, IMAGE_SIZE, *extra)
    fy = rows.weight.reshape(IMAGE_SIZE, 1, *extra)
    left = values[:, columns.lower]
    across = values[:, columns.upper]
    across -= left
    across *= fx
    across += left
    top = across[rows.lower]
    out = across[rows.upper]
    out -= top
    out *= fy
    out += top
    return out.astype(np.uint8)


def look_up_and_interpolate(
    values: npt.NDArray[np.unsignedinteger[Any]], planes: npt.NDArray[np.float32], rows: Taps, columns: Taps
) -> npt.NDArray[np.uint8]:
    """The same of stored values (r, c) that go through a lookup table: -> uint8 (448, 448, planes), truncated.

    planes: float32 (planes, 2 ** bits), grey level of each stored value. Only the taps are looked up, a plane at a time: a
    table of one plane stays in the cache, and no array is converted on the way.
    """
    source, read_rows = np.maximum(columns.needed, 0), np.maximum(rows.needed, 0)
    left_at, right_at = source[columns.lower], source[columns.upper]
    excluded, right_out = columns.needed[columns.lower] < 0, columns.needed[columns.upper] < 0
    rows_out = rows.needed < 0
    padded = bool(excluded.any() or right_out.any() or rows_out.any())
    result = np.empty((IMAGE_SIZE, IMAGE_SIZE, len(planes)), np.uint8)
    for y in range(0, IMAGE_SIZE, BLOCK):
        block = slice(y, y + BLOCK)
        first, last = rows.lower[y], rows.upper[block][-1] + 1
        picked = values[read_rows[first:last]]
        # np.take keeps C order; picked[:, index] comes out transposed in memory, and all that follows is slower
        left_values, right_values = np.take(picked, left_at, axis=1), np.take(picked, right_at, axis=1)
        lower, upper, fy = rows.lower[block] - first, rows.upper[block] - first, rows.weight[block, None]
        for number, table in enumerate(planes):
            left, across = table[left_values], table[right_values]
            if padded:
                left[:, excluded] = 0
                across[:, right_out] = 0
            across -= left
            across *= columns.weight
            across += left
            if padded:
                across[rows_out[first:last]] = 0
            top, out = across[lower], across[upper]
            out -= top
            out *= fy
            out += top
            result[block, :, number] = out
    return result


def padded_shape(rows: int, columns: int, geometry: str) -> tuple[int, int]:
    """Rows and columns after the geometry: a square for `pad-square`, unchanged for `stretch`."""
    return (max(rows, columns),) * 2 if geometry == "pad-square" else (rows, columns)


def resize(image: npt.NDArray[np.uint8], method: str, geometry: str) -> npt.NDArray[np.uint8]:
    """An uint8 image (r, c) or (r, c, 3) -> (448, 448) or (448, 448, 3) by any method."""
    height, width = padded_shape(image.shape[0], image.shape[1], geometry)
    if method == "tf-bilinear":
        rows, columns = taps(image.shape[0], height), taps(image.shape[1], width)
        picked, real = gather(image, rows, columns)
        return interpolate(np.where(real[..., None] if image.ndim == 3 else real, picked, np.uint8(0)), rows, columns)
    square = pad(image, height, width)
    if method == "antialias":
        return _antialiased(square)
    resized = Image.fromarray(square).resize((IMAGE_SIZE, IMAGE_SIZE), PIL_FILTERS[method])
    return np.asarray(resized)


def pad(image: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """The image centred on black: floor of the difference before, the rest after."""
    above, before = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    margins = [(above, height - image.shape[0] - above), (before, width - image.shape[1] - before)]
    return np.pad(image, margins + [(0, 0)] * (image.ndim - 2))


def _antialiased(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Bilinear with a triangle as wide as the scale (tf.image.resize with antialias=True), truncated."""
    values = np.tensordot(_triangle(image.shape[0]), image.astype(np.float32), axes=(1, 0))
    values = np.moveaxis(np.tensordot(_triangle(image.shape[1]), values, axes=(1, 1)), 0, 1)
    return np.clip(values + np.float32(1e-4), 0, 255).astype(np.uint8)


def _triangle(length: int) -> npt.NDArray[np.float32]:
    """Weights (448, length) of the antialiasing triangle kernel; each row sums to one."""
    scale = length / IMAGE_SIZE
    centre = (np.arange(IMAGE_SIZE) + 0.5) * scale
    distance = np.abs(centre[:, None] - (np.arange(length) + 0.5)[None, :]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def as_rgb(image: npt.NDArray[np.uint8]) -> Pixels:
    """Grey to three equal channels; colour as it is. Contiguous."""
    return np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))
