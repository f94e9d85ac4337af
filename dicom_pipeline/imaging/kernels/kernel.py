"""The step that costs most of a rendering: stored values through a lookup table and the resize. numpy's is the reference."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.errors import DicomPipelineError
from dicom_pipeline.imaging.resize import Taps, look_up_and_interpolate

Table = Any
"""A lookup table in the form that its kernel reads fastest."""


class KernelError(DicomPipelineError):
    """There is no compiled kernel, and why."""


class Kernel(Protocol):
    """Looks up and resizes; safe to share. name: of what computes, for logs."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def table(self, levels: npt.NDArray[np.uint8]) -> Table:
        """The table for levels of uint8 (2 ** bits, 1 or 3): grey or RGB of each stored value, ordered by its bits."""
        ...

    def render(
        self, values: npt.NDArray[np.unsignedinteger[Any]], table: Table, rows: Taps, columns: Taps
    ) -> npt.NDArray[np.uint8]:
        """Stored values (r, c), as uint8 or uint16 whatever their sign -> uint8 (448, 448, 3), contiguous."""
        ...


class NumpyKernel:
    """The reference: array operations of numpy."""

    name = "numpy"

    def table(self, levels: npt.NDArray[np.uint8]) -> Table:
        """Float32 (planes, 2 ** bits)."""
        return np.ascontiguousarray(levels.T, np.float32)

    def render(
        self, values: npt.NDArray[np.unsignedinteger[Any]], table: Table, rows: Taps, columns: Taps
    ) -> npt.NDArray[np.uint8]:
        """As `look_up_and_interpolate`; grey in three equal channels."""
        made = look_up_and_interpolate(values, table, rows, columns)
        return np.repeat(made, 3, axis=2) if made.shape[2] == 1 else made
