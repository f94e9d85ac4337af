"""The plain way to render, as one would write it in a notebook: the reference for the fast path."""

import numpy as np

from dicom_pipeline.imaging.resize import pad


def plain_tf_bilinear(image, geometry):
    """tf.image.resize(bilinear, antialias=False) of a whole uint8 image, padded first, truncated."""
    if geometry == "pad-square":
        side = max(image.shape[:2])
        image = pad(image, side, side)
    values = image.astype(np.float32)
    extra = (1,) * (values.ndim - 2)

    def axis(n):
        x = (np.arange(448, dtype=np.float32) + np.float32(0.5)) * np.float32(n / 448) - np.float32(0.5)
        low = np.maximum(np.floor(x), 0).astype(int)
        return low, np.minimum(np.ceil(x), n - 1).astype(int), x - np.floor(x)

    y0, y1, fy = axis(image.shape[0])
    x0, x1, fx = axis(image.shape[1])
    fx, fy = fx.reshape(1, 448, *extra), fy.reshape(448, 1, *extra)
    top = values[y0][:, x0] + (values[y0][:, x1] - values[y0][:, x0]) * fx
    bottom = values[y1][:, x0] + (values[y1][:, x1] - values[y1][:, x0]) * fx
    return (top + (bottom - top) * fy).astype(np.uint8)


def plain_render(renderer, stored):
    """A rendering with the preset's function on every pixel of the image and the plain resize."""
    _, function = renderer.point_function(stored)
    out = plain_tf_bilinear(function(stored.values), renderer.preset.geometry)
    return np.repeat(out[:, :, None], 3, axis=2) if out.ndim == 2 else out
