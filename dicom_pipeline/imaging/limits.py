"""What one frame may cost, checked before any memory is taken for it."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.dicom.reading import MAX_INFLATED_BYTES
from dicom_pipeline.domain import InstanceError, Reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds against objects that ask for absurd amounts of memory.

    max_side: rows or columns; max_pixels: pixels of one frame; max_frames: frames of one instance;
    max_inflated_bytes: size of a deflated data set once inflated.
    """

    max_side: int = 65_535
    max_pixels: int = 200_000_000
    max_frames: int = 100_000
    max_inflated_bytes: int = MAX_INFLATED_BYTES

    def check(self, dataset: Dataset) -> int:
        """Number of frames. Raises InstanceError: no image size, or TOO_LARGE where it promises more than the bounds."""
        rows, columns = integer_of(dataset, "Rows") or 0, integer_of(dataset, "Columns") or 0
        if rows < 1 or columns < 1:
            raise InstanceError(Reason.INVALID_ATTRIBUTE, "Rows or Columns is not a positive number")
        frames = max(1, integer_of(dataset, "NumberOfFrames") or 1)
        if max(rows, columns) > self.max_side or rows * columns > self.max_pixels or frames > self.max_frames:
            raise InstanceError(Reason.TOO_LARGE, f"{rows} x {columns} pixels, {frames} frames")
        return frames
