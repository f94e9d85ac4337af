"""All render processes, as everybody asks them: jobs in, futures out."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from dicom_pipeline.domain import Frame, InstanceError
from dicom_pipeline.imaging.decoding.packed import PackedFile
from dicom_pipeline.imaging.presets import Preset
from dicom_pipeline.pipeline.renderers.child import RenderLimits, Task
from dicom_pipeline.pipeline.renderers.desk import Desk
from dicom_pipeline.pipeline.renderers.dispatcher import OUT_OF_TIME, Dispatcher
from dicom_pipeline.pipeline.renderers.jobs import CompareFiles, ContentOfFrame, Job
from dicom_pipeline.pipeline.renderers.kernels import KernelChoice
from dicom_pipeline.pipeline.renderers.series import SeriesFrames

if TYPE_CHECKING:
    from dicom_pipeline.config import RenderingSection


def default_processes() -> int:
    """One for each core that this process may use but one, which feeds the encoder; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


class Renderers:
    """The render processes, started with the first job; safe to share between threads. Close it, or use it in a `with`.

    processes: how many; None for one a core but one. kernel: what they render with, which changes no byte.
    """

    def __init__(
        self, processes: int | None = None, limits: RenderLimits | None = None, kernel: KernelChoice | None = None
    ) -> None:
        self.processes = processes or default_processes()
        self._desk = Desk()
        self._dispatcher = Dispatcher(self._desk, self.processes, limits or RenderLimits(), kernel or KernelChoice())
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._finalizer = weakref.finalize(self, self._desk.close)

    @classmethod
    def from_settings(cls, section: RenderingSection) -> Renderers:
        """As the settings say; the processes are not started yet."""
        limits = RenderLimits(section.frame_seconds, section.max_process_bytes)
        return cls(section.processes, limits, KernelChoice.from_settings(section))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def kernel(self) -> str:
        """What they render with: "numba" or "numpy"; "" before one has started."""
        return self._dispatcher.kernel

    @property
    def ended(self) -> Mapping[str, int]:
        """How many processes ended that should not have, by how: "SIGABRT", "timeout"."""
        return dict(self._dispatcher.ended)

    @property
    def out_of_time(self) -> int:
        """How many were ended because a frame took too long."""
        return sum(count for how, count in self.ended.items() if how in OUT_OF_TIME)

    @property
    def crashed(self) -> int:
        """How many ended for anything else."""
        return sum(self.ended.values()) - self.out_of_time

    def start(self) -> None:
        """Start the processes now, so that they are ready when the first job comes."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._dispatcher.run, name="renderers", daemon=True)
                self._thread.start()

    def submit(self, job: Job, *, first: bool = False) -> Future[Any]:
        """Ask for a job; its answer comes as a result, and why there is none as InstanceError. first: before all others.

        The future fails with RendererStartError where no process can be started, RenderersClosedError after `close`.
        """
        self.start()
        task = Task(job)
        self._desk.put(task, first=first)
        return task.future

    def series(
        self,
        preset: Preset,
        reference_frames: Sequence[Frame],
        packed: Mapping[Path, PackedFile | None] = MappingProxyType({}),
    ) -> SeriesFrames:
        """The frames of a series, to be rendered with a preset. packed: by path, headers that were read before."""
        return SeriesFrames(self.submit, preset, reference_frames, packed)

    def content(self, frame: Frame) -> float:
        """The share of a frame that is not air, as `imaging.content_of`. Raises InstanceError."""
        return float(self.submit(ContentOfFrame(frame)).result())

    def same_content(self, first: Path, second: Path) -> bool:
        """As `dicom.sameness.content.same_content`; no where a decoder does not survive it."""
        try:
            return bool(self.submit(CompareFiles(first, second)).result())
        except InstanceError:
            return False

    def close(self) -> None:
        """End all processes. What was asked for and is not done fails."""
        self._finalizer()
        if self._thread is not None:
            self._thread.join()
