"""Stored pixels of one frame -> uint8 (448, 448, 3), by a preset.

The fast path: every preset is a point function of the stored value, so it is computed once for each value that the
pixel type can hold and looked up for just those source pixels that the resize reads, by whatever kernel there is. Values of
more than 16 bits, float pixels, colour and the PIL resizes go through the same functions on the whole array. All give the
same bytes (tests/imaging/test_fast_path.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_pipeline.dicom.attributes import integer_of, read_value
from dicom_pipeline.domain import IMAGE_SIZE, Frame, Rendering
from dicom_pipeline.imaging import colour, resize, serving, statistics, voi
from dicom_pipeline.imaging.decoding.frames import Stored, decode
from dicom_pipeline.imaging.decoding.limits import Limits, frame_edge
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.imaging.kernels import Kernel, NumpyKernel, Table
from dicom_pipeline.imaging.presets import Preset
from dicom_pipeline.imaging.statistics import ReferenceFrames, Statistics
from dicom_pipeline.imaging.windows import Span, to_grey

PointFunction = Callable[[npt.NDArray[Any]], npt.NDArray[np.uint8]]
"""Stored values of any shape (s) -> uint8 of shape (s) for grey or (s, 3) for colour."""


class SeriesRenderer:
    """Renders the frames of one series with one preset; safe to call from several threads.

    reference_frames: frames whose values give the series its percentiles, for presets that need them; each stack has its own.
    statistics: what was measured of them elsewhere, in place of reference frames. kernel: numpy's unless another is given;
    which one it is changes no byte.
    """

    def __init__(
        self,
        preset: Preset,
        reference_frames: Sequence[Frame] = (),
        limits: Limits | None = None,
        statistics: Statistics | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.preset = preset
        self.limits = limits or Limits()
        self._statistics = statistics or ReferenceFrames(reference_frames, self.limits, preset.percentiles)
        self._kernel = kernel or NumpyKernel()
        self._table: tuple[Any, Table] | None = None

    def render(self, frame: Frame, packed: PackedFile | None = None) -> Rendering:
        """The rendering of one frame. packed: what was read of its header elsewhere.

        Raises InstanceError with the reason where there can be none.
        """
        with frame_edge():
            return Rendering(frame, self.render_stored(decode(frame, self.limits, packed), frame.stack))

    def render_stored(self, stored: Stored, stack: int = 0) -> npt.NDArray[np.uint8]:
        """Decoded values of a frame of a stack -> uint8 (448, 448, 3)."""
        if self.preset.method == "serving":
            return serving.render(stored)
        if colour.is_colour(stored):
            return self._whole(colour.to_srgb(stored), stored)
        key, function = self.point_function(stored, stack)
        if _is_tabular(stored.values) and self.preset.resize == "tf-bilinear" and self._aspect(stored) == 1.0:
            return self._fast(stored.values, self._looked_up(stored.values.dtype, key, function))
        return self._whole(function(stored.values), stored)

    def point_function(self, stored: Stored, stack: int = 0) -> tuple[Any, PointFunction]:
        """The preset for this frame as a function of the stored value, and a key that two equal functions share."""
        spans = self._spans(stored, stack)
        inverted = voi.is_inverted(stored)
        padding = voi.padding_range(stored)
        lut = voi.has_modality_lut(stored) or (spans is None and voi.has_voi_lut(stored))
        key = None
        if not lut:
            window = (voi.window_of(stored), str(stored.find("VOILUTFunction"))) if spans is None else spans
            key = (voi.rescale_of(stored), window, inverted, padding)

        def function(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
            modality = voi.modality_values(values, stored)
            grey = None if spans is not None else voi.voi_grey(modality, stored)
            if grey is None:
                grey = _in_spans(modality, spans or (Span(float(modality.min()), float(modality.max())),))
            if inverted:
                grey = 255 - grey
            if padding is not None:
                outside = (values >= padding[0]) & (values <= padding[1])
                grey[outside] = 0
            return grey

        return key, function

    def _spans(self, stored: Stored, stack: int) -> tuple[Span, ...] | None:
        """The fixed windows that the preset puts on this frame; None where the object's own VOI applies."""
        method = self.preset.method
        if method == "windows":
            return tuple(Span.of(width, level) for width, level in self.preset.windows)
        if method == "minmax":
            return (self._statistics.extremes(stored, stack),)
        if method == "percentile":
            return self._percentile_spans(stored, stack)
        if voi.window_of(stored) is not None or voi.has_voi_lut(stored):
            return None
        if method == "colour" and _is_eight_bit(stored):
            return (_full_range(stored),)
        return (self._statistics.levels(stored, stack).window,)

    def _percentile_spans(self, stored: Stored, stack: int) -> tuple[Span, ...] | None:
        """The percentile window; where it is absurd, the object's own one (None), or all values where that is absurd too."""
        levels = self._statistics.levels(stored, stack)
        if levels.suits(levels.window):
            return (levels.window,)
        own = voi.window_of(stored)
        if voi.has_voi_lut(stored) or (own is not None and levels.suits(Span.of(own[1], own[0]))):
            return None
        return (self._statistics.extremes(stored, stack),)

    def _looked_up(self, dtype: np.dtype[Any], key: Any, function: PointFunction) -> Table:
        """The function over all values of a type, ordered by their bits, as the kernel reads it; the last is kept."""
        cached = self._table
        if key is not None and cached is not None and cached[0] == (dtype, key):
            return cached[1]
        bits = dtype.itemsize * 8
        levels = function(np.arange(1 << bits, dtype=f"u{dtype.itemsize}").view(dtype))
        table = self._kernel.table(levels.reshape(1 << bits, -1))
        if key is not None:
            self._table = ((dtype, key), table)
        return table

    def _fast(self, values: npt.NDArray[Any], table: Table) -> npt.NDArray[np.uint8]:
        height, width = resize.padded_shape(values.shape[0], values.shape[1], self.preset.geometry)
        rows, columns = resize.taps(values.shape[0], height), resize.taps(values.shape[1], width)
        unsigned = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
        return self._kernel.render(unsigned, table, rows, columns)

    def _whole(self, image: npt.NDArray[np.uint8], stored: Stored) -> npt.NDArray[np.uint8]:
        aspect = self._aspect(stored)
        if aspect != 1.0:
            image = _with_square_pixels(image, aspect)
        return resize.as_rgb(resize.resize(image, self.preset.resize, self.preset.geometry))

    def _aspect(self, stored: Stored) -> float:
        """Height of a pixel over its width, 1 where they differ by less than 1 % or the preset does not care."""
        if not self.preset.square_pixels:
            return 1.0
        for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
            value = stored.find(keyword)
            try:
                row, column = (float(v) for v in value) if value is not None else (0.0, 0.0)
            except (TypeError, ValueError):
                continue
            if row > 0 and column > 0:
                ratio = row / column
                return ratio if not 0.99 < ratio < 1.01 and 0.05 < ratio < 20 else 1.0
        return 1.0


def content_of(frame: Frame) -> float:
    """Share of the frame (0..1) that is not air or background, from every eighth pixel.

    CT: above -500 HU. Others: above a tenth of the way from the darkest to the brightest value. Raises InstanceError.
    """
    stored = decode(frame)
    sample = statistics.sample(stored, step=8)
    if read_value(stored.dataset, "Modality") == "CT":
        return float((sample > -500).mean())
    low, high = float(sample.min()), float(np.percentile(sample, 99.5))
    return float((sample > low + 0.1 * (high - low)).mean()) if high > low else 0.0


def _is_tabular(values: npt.NDArray[Any]) -> bool:
    return values.ndim == 2 and values.dtype.kind in "iu" and values.dtype.itemsize <= 2


def _in_spans(modality: npt.NDArray[np.float32], spans: Sequence[Span]) -> npt.NDArray[np.uint8]:
    if len(spans) == 1:
        return to_grey(modality, spans[0])
    return np.stack([to_grey(modality, span) for span in spans], axis=-1)


def _is_eight_bit(stored: Stored) -> bool:
    """Whether the stored range is what a display shows; counts and measurements of more bits fill little of theirs."""
    return stored.values.dtype.kind != "f" and (integer_of(stored.dataset, "BitsStored") or 16) <= 8


def _full_range(stored: Stored) -> Span:
    """The whole range of the stored type in modality units: what an 8-bit ultrasound frame means by itself."""
    bits = integer_of(stored.dataset, "BitsStored") or stored.values.dtype.itemsize * 8
    signed = stored.values.dtype.kind == "i"
    ends = np.array([-(1 << (bits - 1)) if signed else 0, (1 << (bits - 1 if signed else bits)) - 1])
    low, high = sorted(voi.modality_values(ends, stored).tolist())
    return Span(low, high)


def _with_square_pixels(image: npt.NDArray[np.uint8], aspect: float) -> npt.NDArray[np.uint8]:
    """The image with its taller (aspect > 1) or wider pixels made square by stretching the short axis."""
    rows, columns = image.shape[:2]
    size = (columns, round(rows * aspect)) if aspect > 1 else (round(columns / aspect), rows)
    if max(size) > 20 * IMAGE_SIZE:  # never grow a large image further: shrink the other axis instead
        size = (round(columns / aspect), rows) if aspect > 1 else (columns, round(rows * aspect))
    return np.asarray(Image.fromarray(image).resize((max(size[0], 1), max(size[1], 1)), Image.Resampling.BILINEAR))
