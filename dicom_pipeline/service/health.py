"""Whether the service can do its work now: what /ready answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.config import Settings


class State(StrEnum):
    """Of a child process. STARTING: it loads its model or opens its port. SILENT: it is there, and seems to hang."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class ChildState:
    """The state of a child process. part: which of its threads is silent, and for how many seconds.

    incidents: what happened since it started, and how often. why: it is down, where that is known.
    """

    state: State
    part: str = ""
    seconds: float = 0.0
    incidents: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    def sentence(self, name: str) -> str:
        """A sentence for a person; name: of the child."""
        if self.state is not State.SILENT:
            return f"the {name} is {self.state.value}{f': it {self.why}' if self.why else ''}"
        part = "" if self.part == name else f" ({self.part})"
        return f"the {name}{part} is silent: it made no progress for {self.seconds:.0f} s"


States = Callable[[], Mapping[str, ChildState]]


def readiness(settings: Settings, catalog: Catalog, states: Mapping[str, ChildState]) -> tuple[bool, dict[str, Any]]:
    """Whether it is ready, and each thing that was looked at. Raises CatalogError, OSError where those do not answer.

    Ready: the listener listens, the worker is there (it may load its model: what comes meanwhile is kept), neither they nor
    the supervisor hang, the disk is above its watermark and the catalog answers. Senders and pollers that are down or hang
    are shown, but do not make it unready.
    """
    study_account(catalog, "")
    free = shutil.disk_usage(settings.spool.folder).free
    needed = {"listener": (State.RUNNING,), "worker": (State.RUNNING, State.STARTING), "supervisor": (State.RUNNING,)}
    found = {"listener": ChildState(State.DOWN), "worker": ChildState(State.DOWN), **states}
    reasons = [
        found[name].sentence(name) for name, good in needed.items() if name in found and found[name].state not in good
    ]
    if free < settings.spool.min_free_bytes:
        reasons.append("the disk is below spool.min_free_bytes")
    values = {
        "status": "not-ready" if reasons else "ready",
        "processes": {name: child.state.value for name, child in states.items()},
        "silent": [child.sentence(name) for name, child in states.items() if child.state is State.SILENT],
        "disk": {"free_bytes": free, "min_free_bytes": settings.spool.min_free_bytes},
        "reasons": reasons,
    }
    return not reasons, values
