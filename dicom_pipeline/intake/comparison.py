"""Asks whether two files hold the same instance written in different ways. A process of its own compares (imaging.comparer):
what a decoder makes of hostile bytes must not end the listener.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dicom_pipeline.intake.comparer import MAX_SECONDS, SAME

log = logging.getLogger(__name__)

PROGRAM = "from dicom_pipeline.intake.comparer import answer_questions; answer_questions()"
END_SECONDS = 2.0
AT_ONCE_SECONDS = 1.0
"""A process that ends later than this after a question ended of it, and is not asked again."""


class Comparison:
    """One comparison at a time; its process is started when it is needed and ends when it is idle. Safe to share."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._finalizer: Callable[[], None] = _nothing_to_end

    def same(self, first: Path, second: Path) -> bool:
        """Whether both files hold the same instance. No where that is not certain: what cannot be read or compared within
        the bounds of time and memory, and when others have to be compared before for too long.
        """
        if not self._turn.acquire(timeout=MAX_SECONDS):
            log.warning("too much to compare at once: taken for other content")
            return False
        try:
            return self._ask(json.dumps([str(first.absolute()), str(second.absolute())]).encode() + b"\n")
        except OSError as error:
            log.error("cannot compare: %s", error.strerror)
            return False
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process, if there is one, and what it is comparing. Nothing is the same from now on."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._finalizer()

    def _ask(self, question: bytes) -> bool:
        running, began = self._process is not None and self._process.poll() is None, time.monotonic()
        answer = self._exchange(question)
        if not answer and running and time.monotonic() - began < AT_ONCE_SECONDS:  # perhaps its idle time was just over
            answer = self._exchange(question)
        if not answer:
            log.warning("a comparison took too long, too much memory or crashed: taken for other content")
        return answer == SAME

    def _exchange(self, question: bytes) -> bytes:
        """The answer; empty where the process ended instead."""
        process = self._process
        if self._closed:
            return b""
        if process is None or process.poll() is not None:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question)
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            self._finalizer()
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._finalizer()
        self._process = process = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                "-P",
                "-c",
                PROGRAM,
            ],  # -P: the working folder is no place to import from, unless it is for us
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders quote what they read
            bufsize=0,
        )
        end: Callable[[], None] = weakref.finalize(self, partial(_end, process))
        self._finalizer = end
        return process


def _nothing_to_end() -> None:
    """No process was started."""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close a process's pipes, which ends it, and wait for that."""
    with process:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
