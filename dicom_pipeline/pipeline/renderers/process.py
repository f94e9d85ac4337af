"""What runs in a render process: jobs from a connection, answers back, under limits of memory and of time for each job.

    python -m dicom_pipeline.pipeline.renderers.process CONNECTION MEMORY FRAME_SECONDS MAX_BYTES [KERNEL_FOLDER...]

CONNECTION and MEMORY are inherited file descriptors: a socket, and the memory in which renderings are handed back. In the
folders it looks for compiled loops; without any it renders with numpy. It ends with its parent, because the connection then
ends; a decoder that loops at that moment ends by its limit of time.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from dicom_pipeline import faults
from dicom_pipeline.pipeline.renderers.jobs import SHAPE, SLOT_BYTES, Job, Ready, answer_of, use_kernel
from dicom_pipeline.pipeline.renderers.kernels import kernel_from


def main(arguments: list[str]) -> None:
    """Answer jobs until the connection ends."""
    connection, memory, seconds, max_bytes = (int(word) for word in arguments[:4])
    for ignored in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the parent says when to stop
        signal.signal(ignored, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold patient data
    kernel, problem = kernel_from([Path(word) for word in arguments[4:]])
    use_kernel(kernel)
    _limit_memory(max_bytes)  # after the kernel: no file has had a say yet, and a compiler needs more than a decoder
    shared = mmap.mmap(memory, 0)
    slots = np.frombuffer(shared, np.uint8).reshape(len(shared) // SLOT_BYTES, *SHAPE)
    with Connection(connection) as parent:
        parent.send(Ready(kernel.name, problem))
        while True:
            try:
                number, job = parent.recv()
            except EOFError:
                return
            parent.send(_answered(job, slots[number], seconds))


def _answered(job: Job, slot: np.ndarray, seconds: int) -> object:
    _limit_time(seconds)
    faults.passing("job-begun")
    return answer_of(job, slot)


def _limit_memory(max_bytes: int) -> None:
    """So much more address space than the process has now. A system that keeps no such limit is left without."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time(seconds: int) -> None:
    """So many more seconds of CPU time, from now; the kernel ends the process beyond them (SIGXCPU), wherever it is."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


if __name__ == "__main__":
    main(sys.argv[1:])
