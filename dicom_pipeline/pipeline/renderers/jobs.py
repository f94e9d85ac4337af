"""What a render process can be asked, and its answers. They cross a pipe; renderings lie in memory that both sides share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.dicom.sameness.content import same_content
from dicom_pipeline.domain import IMAGE_SIZE, Frame, InstanceError, Pixels, Reason
from dicom_pipeline.imaging.decoding.frames import decode
from dicom_pipeline.imaging.decoding.limits import frame_edge
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.imaging.kernels import Kernel, NumpyKernel
from dicom_pipeline.imaging.presets import Preset
from dicom_pipeline.imaging.render import SeriesRenderer, content_of
from dicom_pipeline.imaging.statistics import Given, Measured, NotMeasuredError, Sample, Statistic, sample_of

SHAPE = (IMAGE_SIZE, IMAGE_SIZE, 3)
SLOT_BYTES = IMAGE_SIZE * IMAGE_SIZE * 3
"""Shared memory for one rendering."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The process can be given jobs. kernel: what renders in it; problem: why that is not the one that was asked for."""

    kernel: str
    problem: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The rendering lies in the job's slot."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The frame needs a statistic of its stack, which was not given."""

    statistic: Statistic


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is none. detail: as of InstanceError."""

    reason: Reason
    detail: str = ""


Answer = Rendered | Missing | Failed | Sample | float | bool


class Job(Protocol):
    """Something to do with files. frame: that it is about, None where it is about none."""

    @property
    def frame(self) -> Frame | None: ...  # noqa: D102
    def run(self, slot: Pixels) -> Answer:
        """Do it. slot: uint8 (448, 448, 3), where a rendering is written. Raises InstanceError."""
        ...


@dataclass(frozen=True, slots=True)
class RenderFrame:
    """Render a frame with a preset and what is known of its stack. packed: its header, where that was read elsewhere."""

    frame: Frame
    preset: Preset
    measured: Measured
    packed: PackedFile | None = None

    def run(self, slot: Pixels) -> Answer:
        """The rendering, in the slot."""
        slot[:] = _renderer(self.preset, self.measured).render(self.frame, self.packed).pixels
        return Rendered()


@dataclass(frozen=True, slots=True)
class SampleFrame:
    """What a frame adds to a statistic of its stack."""

    frame: Frame
    statistic: Statistic
    packed: PackedFile | None = None

    def run(self, slot: Pixels) -> Answer:
        """Float32 of shape (n,)."""
        del slot
        return sample_of(decode(self.frame, packed=self.packed), self.statistic)


@dataclass(frozen=True, slots=True)
class ContentOfFrame:
    """The share of a frame that is not air."""

    frame: Frame

    def run(self, slot: Pixels) -> Answer:
        """From 0 to 1."""
        del slot
        return content_of(self.frame)


@dataclass(frozen=True, slots=True)
class CompareFiles:
    """Whether two files hold the same instance, written in different ways."""

    first: Path
    second: Path
    frame: Frame | None = None

    def run(self, slot: Pixels) -> Answer:
        """As `same_content`."""
        del slot
        return same_content(self.first, self.second)


class _Process:
    """What all jobs of this process use."""

    kernel: Kernel = NumpyKernel()


def use_kernel(kernel: Kernel) -> None:
    """Render the frames of this process with a kernel; before its first job."""
    _Process.kernel = kernel


@functools.lru_cache(maxsize=8)
def _renderer(preset: Preset, measured: Measured) -> SeriesRenderer:
    """A renderer keeps its last lookup table, so frames of one stack share it."""
    return SeriesRenderer(preset, statistics=Given(measured, preset.percentiles), kernel=_Process.kernel)


def answer_of(job: Job, slot: npt.NDArray[np.uint8]) -> Answer:
    """The answer to a job; what a frame cannot give is an answer too."""
    try:
        with frame_edge():
            return job.run(slot)
    except NotMeasuredError as error:
        return Missing(error.statistic)
    except InstanceError as error:
        return Failed(error.reason, error.detail)
