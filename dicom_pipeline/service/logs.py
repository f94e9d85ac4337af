"""Log lines: text for people or JSON for machines, one line each whatever a message holds.

An exception is told by its type and the places it came through, never by its words: those of a library may quote a patient's
name. What ends a thread or a process unforeseen is told the same way.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from dicom_pipeline.errors import CatalogError, FingerprintError, ModelError, ProbeError, UsageError

log = logging.getLogger(__name__)

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What could end or hide a line of a log, on a terminal or in a viewer."""

PLACES = 12
"""Places of a traceback that are told, the last ones."""

Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLine(logging.Formatter):
    """Text lines with control characters escaped, so that no received text can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return one_line(super().format(_without_words(record)))

    def formatException(self, ei: Raised) -> str:  # noqa: N802 - logging's own name
        """The exception without its words."""
        return places_of(ei[1])


class JsonLine(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        values: dict[str, Any] = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        values["process"] = f"{record.processName}[{record.process}]"
        values["message"] = one_line(record.getMessage())
        if record.exc_info:
            values["exception"] = places_of(record.exc_info[1])
        return json.dumps(values)


def one_line(text: str) -> str:
    r"""A text with every control character written out, as \n or \x1b."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


OF_SETTINGS = (UsageError, ModelError, ProbeError, FingerprintError, CatalogError)
"""Errors that speak of settings, models and our own files, never of what was received."""


def places_of(error: BaseException | None) -> str:
    """Where an exception came from: its type and the last places, with those of what it came from, and no words."""
    told = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
        places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
        told.append(f"{type(error).__name__} at {places or 'an unknown place'}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "; from ".join(told)


def set_up_logs(form: str, level: str) -> None:
    """Log to stderr. Libraries below WARNING are silent: pynetdicom and pydicom would name patients in DEBUG lines."""
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(levelname)-7s %(processName)s[%(process)d] %(name)s: %(message)s"
    handler.setFormatter(JsonLine() if form == "json" else OneLine(text))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dicom_pipeline").setLevel(level)
    warnings.simplefilter("ignore")  # pydicom quotes the values that it warns of
    for library in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    sys.excepthook = lambda _kind, error, _traceback: _log_end("the process", error)
    sys.unraisablehook = lambda given: _log_end("a clean-up", given.exc_value)
    threading.excepthook = lambda given: _log_end(
        f"thread {given.thread.name if given.thread else '?'}", given.exc_value
    )


def log_crash(target: Callable[..., None], leave: Callable[[str], None] | None = None) -> Callable[..., None]:
    """A process's target that logs an unhandled exception without its message, which multiprocessing itself would print.

    leave: is given the message of an error of settings, models and our own files.
    """
    return _CrashLogger(target, leave)


class _CrashLogger:
    """Can be pickled, as a child process wants it."""

    def __init__(self, target: Callable[..., None], leave: Callable[[str], None] | None) -> None:
        self._target = target
        self._leave = leave

    def __call__(self, *arguments: Any) -> None:
        try:
            self._target(*arguments)
        except Exception as error:  # noqa: BLE001 - the edge of a process: the supervisor starts it again
            if self._leave is not None and isinstance(error, OF_SETTINGS):
                self._leave(str(error))
            _log_end("the process", error)
            end_process(1)


def end_process(status: int) -> NoReturn:
    """End without the interpreter's clean-up, at which threads of native libraries that still run abort with a message."""
    logging.shutdown()
    os._exit(status)


def _log_end(what: str, error: BaseException | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    if isinstance(error, OF_SETTINGS):  # words of ours on settings, which whoever reads the log must know
        log.critical("%s ended: %s", what, error)
    else:
        log.critical("%s ended: %s", what, places_of(error))


def _without_words(record: logging.LogRecord) -> logging.LogRecord:
    """logging keeps a formatted traceback for the next handler; one with words, made by another, must not be taken."""
    record.exc_text = None
    return record
