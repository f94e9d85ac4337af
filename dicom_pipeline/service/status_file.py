"""The state of the service, in a file of the data folder that `status` reads. The file's time says that the service runs."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicom_pipeline.service.health import ChildState, State

log = logging.getLogger(__name__)

NAME = "service.json"
EVERY_SECONDS = 10.0
LATE_SECONDS = 60.0
"""A file that is older means that the service was killed, or that its supervisor hangs."""


class StatusFile:
    """The file of a running service."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._states: dict[str, tuple[State, Mapping[str, int], str]] = {}
        self._written_at = float("-inf")
        self._text = ""

    def write(self, children: Mapping[str, ChildState], now: float) -> None:
        """Write what has changed, at once for another state; else only the file's time, now and then. now: monotonic."""
        states = {name: (child.state, child.incidents, child.why) for name, child in children.items()}
        if states == self._states and now - self._written_at < EVERY_SECONDS:
            return
        self._states, self._written_at = states, now
        text = json.dumps({name: _as_list(child) for name, child in children.items()})
        try:
            if text == self._text:
                os.utime(self._path)  # takes no room on a full disk
                return
            new = self._path.with_suffix(".new")
            new.write_text(text)
            new.replace(self._path)
            self._text = text
        except OSError as error:
            log.warning("cannot write %s: %s", NAME, error.strerror)

    def remove(self) -> None:
        """Remove it, as the service ends."""
        self._path.unlink(missing_ok=True)


def service_status(folder: Path) -> dict[str, Any]:
    """Of a data folder's service: its state (running, not-running, silent), its processes', what is silent or down in words.

    incidents: what happened in its processes since they started, and how often.
    """
    age, children = _read(folder)
    if age is None:
        return {"state": "not-running", "processes": {}, "silent": [], "down": [], "incidents": {}}
    if age > LATE_SECONDS:
        why = f"the service wrote no status for {age:.0f} s: it was killed, or hangs"
        return {"state": "silent", "processes": {}, "silent": [why], "down": [], "incidents": {}}
    return {
        "state": "running",
        "processes": {name: child.state.value for name, child in children.items()},
        "silent": [child.sentence(name) for name, child in children.items() if child.state is State.SILENT],
        "down": [child.sentence(name) for name, child in children.items() if child.state is State.DOWN],
        "incidents": {name: count for child in children.values() for name, count in child.incidents.items()},
    }


def states_of(folder: Path) -> dict[str, ChildState]:
    """The processes of a data folder's service, and of its supervisor whether it goes its rounds; none where it is gone."""
    age, children = _read(folder)
    if age is None:
        return {}
    late = age > LATE_SECONDS
    supervisor = ChildState(State.SILENT, "supervisor", age) if late else ChildState(State.RUNNING)
    return {**children, "supervisor": supervisor}


def _read(folder: Path) -> tuple[float | None, dict[str, ChildState]]:
    """The file's age in seconds, None without one, and the states that it holds."""
    path = folder / NAME
    try:
        age = max(0.0, time.time() - path.stat().st_mtime)
        states = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None, {}
    return age, {
        name: ChildState(State(state), part, seconds, incidents, why)
        for name, (state, part, seconds, incidents, why) in states.items()
    }


def _as_list(child: ChildState) -> list[Any]:
    return [child.state, child.part, child.seconds, child.incidents, child.why]
