"""What selections may ask about frames beyond their headers: how much of a frame is not air, and its embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Frame, InstanceError, Pixels
from dicom_pipeline.encoders import Encoder
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.pipeline.renderers import Renderers, SeriesFrames

REFERENCE_FRAMES = 32
"""Frames, evenly over those of a series that are asked about, that make its statistics."""


class FrameMeasures:
    """Measures frames with the render processes and the resident model. progress: called for each frame and batch."""

    def __init__(self, encoder: Encoder, renderers: Renderers, progress: Callable[[], object]) -> None:
        self._encoder = encoder
        self._renderers = renderers
        self._progress = progress

    def content(self, frame: Frame) -> float:
        """Share of the frame (0..1) that is not air, for the `body` selection. Raises InstanceError."""
        self._progress()
        return self._renderers.content(frame)

    def vectors(self, frames: Sequence[Frame], preset: str) -> npt.NDArray[np.float32]:
        """Embeddings (N, D) of frames, for the `diverse` selection; a frame that cannot be rendered gets zeros."""
        vectors = np.zeros((len(frames), self._encoder.dimension), np.float32)
        by_series: dict[str, list[int]] = {}
        for index, frame in enumerate(frames):
            by_series.setdefault(frame.series_instance_uid, []).append(index)
        size = self._encoder.batch_size
        for indices in by_series.values():
            reference = [frames[i] for i in indices][:: -(-len(indices) // REFERENCE_FRAMES)]
            renderer = self._renderers.series(load_preset(preset), reference)
            for start in range(0, len(indices), size):
                made = self._rendered(renderer, frames, indices[start : start + size])
                if made:
                    vectors[list(made)] = self._encoder.encode_images(np.stack(list(made.values())))
                self._progress()
        return vectors

    def _rendered(self, series: SeriesFrames, frames: Sequence[Frame], indices: Sequence[int]) -> dict[int, Pixels]:
        """Renderings by index; frames that fail are absent here, and get their reason where they are rendered to be used."""
        made = {}
        asked = {index: series.submit(frames[index]) for index in indices}
        for index, rendering in asked.items():
            self._progress()
            try:
                made[index] = rendering.result().pixels
            except InstanceError:
                continue
        return made
