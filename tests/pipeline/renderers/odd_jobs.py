"""Jobs that do to a render process what hostile files do through decoders; imported by the process itself."""

import ctypes
import os
import time
from dataclasses import dataclass

from dicom_pipeline.domain import Frame


@dataclass(frozen=True)
class Pid:
    """Answers with the process that it runs in."""

    frame: Frame | None = None

    def run(self, _slot) -> float:
        return float(os.getpid())


@dataclass(frozen=True)
class Abort:
    """As a decoder whose assertion fails."""

    frame: Frame

    def run(self, _slot):
        os.abort()


@dataclass(frozen=True)
class ReadNowhere:
    """As a decoder that reads beyond its buffer."""

    frame: Frame

    def run(self, _slot):
        ctypes.string_at(8)


@dataclass(frozen=True)
class Loop:
    """As a decoder that never ends, and lets nothing else of its process run."""

    frame: Frame

    def run(self, _slot):
        while True:
            sum(range(100_000))


@dataclass(frozen=True)
class Wait:
    """As a disk that does not answer: it costs no CPU time."""

    frame: Frame

    def run(self, _slot):
        time.sleep(3600)


@dataclass(frozen=True)
class Take:
    """As a decoder that believes a header; the memory is written to, so that it is really taken."""

    frame: Frame
    size: int

    def run(self, _slot) -> float:
        return float(len(bytearray(b"x") * self.size))


@dataclass(frozen=True)
class Print:
    """As a decoder that writes on standard output and standard error, from C."""

    frame: Frame

    def run(self, _slot) -> float:
        os.write(1, b"patient")
        os.write(2, b"patient")
        return 1.0
