"""What one frame may cost, checked before any memory is taken for it; and the edge at which its failure stays its own."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


@contextmanager
def frame_edge() -> Iterator[None]:
    """What nobody foresaw of an odd instance becomes that instance's failure, not its study's and its neighbours'.

    Raises InstanceError: as it came, TOO_LARGE for memory that there was not, RENDER_FAILED for anything else.
    """
    try:
        yield
    except InstanceError:
        raise
    except MemoryError as error:
        raise InstanceError(Reason.TOO_LARGE, "more memory than there is for it") from error
    except Exception as error:  # the edge of a frame: an odd value costs no other frame
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        raise InstanceError(Reason.RENDER_FAILED, place) from error
