"""Whether the service can do its work now: what /ready answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.config import Settings


class State(StrEnum):
    """Of a child process. STARTING: it loads its model or opens its port."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"


States = Callable[[], Mapping[str, State]]


def readiness(settings: Settings, catalog: Catalog, states: Mapping[str, State]) -> tuple[bool, dict[str, Any]]:
    """Whether it is ready, and each thing that was looked at. Raises CatalogError, OSError where those do not answer.

    Ready: the listener listens, the worker is there (it may load its model: what comes meanwhile is kept), the disk is above
    its watermark and the catalog answers. Senders and pollers that are down are shown, but hold up no sender of studies.
    """
    study_account(catalog, "")
    free = shutil.disk_usage(settings.spool.folder).free
    reasons = []
    if states.get("listener") is not State.RUNNING:
        reasons.append(f"the listener is {states.get('listener', State.DOWN).value}")
    if states.get("worker", State.DOWN) is State.DOWN:
        reasons.append("the worker is down")
    if free < settings.spool.min_free_bytes:
        reasons.append("the disk is below spool.min_free_bytes")
    values = {
        "status": "not-ready" if reasons else "ready",
        "processes": {name: state.value for name, state in states.items()},
        "disk": {"free_bytes": free, "min_free_bytes": settings.spool.min_free_bytes},
        "reasons": reasons,
    }
    return not reasons, values
