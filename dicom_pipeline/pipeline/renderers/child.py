"""One render process as its parent holds it: started, given jobs in turn, watched, ended."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np

from dicom_pipeline.pipeline.renderers.jobs import SHAPE, SLOT_BYTES, Answer, Job, Ready, Rendered

JOBS_AT_ONCE = 2
"""Jobs that a process holds: the one that it works on and the next, so that it never waits for its parent."""

PROGRAM = "dicom_pipeline.pipeline.renderers.process"
END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """What one render process may take. frame_seconds: CPU time for one job; max_bytes: memory beyond that of its start."""

    frame_seconds: int = 30
    max_bytes: int = 2 * 1024**3


@dataclass(eq=False, slots=True)
class Task:
    """A job on its way. deaths: how many processes ended while they worked on it."""

    job: Job
    future: Future[Any] = field(default_factory=Future)
    deaths: int = 0


class RenderProcess:
    """A render process; used by one thread. Raises OSError where it cannot be started.

    kernel_folders: in which it looks for compiled loops. ready: what it said when it was.
    """

    def __init__(self, limits: RenderLimits, kernel_folders: Sequence[Path] = ()) -> None:
        self.tasks: deque[Task] = deque()
        self.ready: Ready | None = None
        self.silent_seconds = 0.0
        self._given = self._taken = 0
        ours, theirs = socket.socketpair()
        with ours, theirs, _shared_memory(JOBS_AT_ONCE * SLOT_BYTES) as memory:
            self._memory = mmap.mmap(memory.fileno(), 0)
            self._process = _start(limits, theirs.fileno(), memory.fileno(), kernel_folders)
            self.connection = Connection(ours.detach())
        self._slots = np.frombuffer(self._memory, np.uint8).reshape(JOBS_AT_ONCE, *SHAPE)

    @property
    def is_ready(self) -> bool:
        """Whether it has started."""
        return self.ready is not None

    @property
    def is_full(self) -> bool:
        """Whether it holds as many jobs as it may."""
        return len(self.tasks) >= JOBS_AT_ONCE

    def give(self, task: Task) -> None:
        """A job to do after those that it has. Raises OSError where the process has ended."""
        self.connection.send((self._given % JOBS_AT_ONCE, task.job))
        self._given += 1
        self.tasks.append(task)

    def take(self) -> tuple[Task, Answer] | None:
        """What it has answered, a rendering as an array of its own; None where it said that it is ready.

        Raises EOFError or OSError where the process has ended.
        """
        answer = self.connection.recv()
        self.silent_seconds = 0.0
        if self.ready is None:
            self.ready = answer
            return None
        slot = self._slots[self._taken % JOBS_AT_ONCE]
        self._taken += 1
        return self.tasks.popleft(), slot.copy() if isinstance(answer, Rendered) else answer

    def end(self, *, at_once: bool = False) -> str:
        """End it, if it has not ended, and say how it did: "SIGABRT", "exit 1". at_once: whatever it does."""
        self.connection.close()
        if at_once:
            self._process.kill()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _start(
    limits: RenderLimits, connection: int, memory: int, kernel_folders: Sequence[Path]
) -> subprocess.Popen[bytes]:
    words = [str(word) for word in (connection, memory, limits.frame_seconds, limits.max_bytes, *kernel_folders)]
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", PROGRAM, *words],  # -P: the working folder is no place to import from
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # decoders quote what they read
        pass_fds=(connection, memory),
    )


@contextmanager
def _shared_memory(size: int) -> Iterator[IO[bytes]]:
    """An open file of so many bytes that has no name, and so is gone with those who hold it."""
    memory = os.memfd_create("renderings") if hasattr(os, "memfd_create") else None
    with tempfile.TemporaryFile() if memory is None else os.fdopen(memory, "r+b") as file:
        file.truncate(size)
        yield file
