"""From Orthanc's list of changes to the queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orthanc

from medsiglip.configuration import Configuration
from medsiglip.orthanc_rest import error_place, get_json
from medsiglip.study_queue import StudyQueue

MAX_CHANGE_ATTEMPTS = 10
"""Attempts to read one change, in about a minute, after which it is passed over."""

RESOURCE_OF = {"NewInstance": "instances", "NewSeries": "series", "NewStudy": "studies"}


class ChangeReader:
    """Enters the studies of Orthanc's changes since the cursor in the queue."""

    def __init__(self, configuration: Configuration, queue: StudyQueue) -> None:
        self._configuration = configuration
        self._queue = queue
        self._boundary: int | None = None
        self._unreadable = (0, 0)

    def _start(self) -> int:
        """Log what is sent where, and find the last change before this run of Orthanc."""
        orthanc.LogWarning(f"MedSigLIP: {self._configuration.summary()}")
        if any("Label" in rule for rule in self._configuration.rules) and get_json("/tools/labels") is None:
            orthanc.LogError(
                "MedSigLIP: a rule asks for Label, which this Orthanc does not know (1.12 does): it matches nothing"
            )
        return last_change()

    def read(self, stopping: Callable[[], bool]) -> None:
        """Enter the studies that became stable since the cursor.

        At a stop Orthanc forgets which studies were not stable yet. A study that was changed before this start is
        therefore entered too, to be examined when it would have become stable.
        """
        if self._boundary is None:
            self._boundary = self._start()
        seq = self._queue.cursor()
        if seq is None:  # the very first start: what Orthanc holds already is for a backfill
            self._queue.enter({}, self._boundary)
            return
        if seq > max(self._boundary, last_change()):  # Orthanc's index was made anew
            self._queue.enter({}, 0)
            return
        while not stopping():
            page = get_json(f"/changes?since={seq}&limit=1000")
            if not page or not page["Changes"]:
                return
            studies: dict[str, float] = {}
            for change in page["Changes"] if self._configuration.automatic else ():
                study, due = self._study_of(change)
                if study:
                    studies[study] = due  # the latest change decides
            seq = page["Last"]
            self._queue.enter(studies, seq)
            if page["Done"]:
                return

    def _study_of(self, change: dict[str, Any]) -> tuple[str, float]:
        """The study that a change concerns and when to examine it; empty where it concerns none.

        Raises what reading the change's resource raises. After MAX_CHANGE_ATTEMPTS the change is passed over, so that the
        studies after it are not lost as well.
        """
        try:
            return self._resolve(change)
        except (orthanc.OrthancException, ValueError, LookupError, TypeError, AttributeError) as error:
            seq, count = change["Seq"], self._unreadable[1] + 1 if self._unreadable[0] == change["Seq"] else 1
            self._unreadable = (seq, count)
            if count < MAX_CHANGE_ATTEMPTS:
                raise
            kind, resource = change["ChangeType"], change["ID"][:8]
            orthanc.LogError(
                f"MedSigLIP: change {seq} ({kind} {resource}) cannot be read after {count} attempts and is passed over: "
                f"{error_place(error)}; Process now sends its study"
            )
            return "", 0.0

    def _resolve(self, change: dict[str, Any]) -> tuple[str, float]:
        kind, resource, trigger = change["ChangeType"], change["ID"], self._configuration.trigger
        if kind == trigger == "StableStudy":
            return resource, time.time()
        if kind == trigger == "StableSeries":
            return (get_json(f"/series/{resource}") or {}).get("ParentStudy", ""), time.time()
        if kind in RESOURCE_OF and change["Seq"] <= (self._boundary or 0):
            path = f"/{RESOURCE_OF[kind]}/{resource}/study"
            study = resource if kind == "NewStudy" else (get_json(path) or {}).get("ID", "")
            return study, time.time() + self._configuration.stable_age + 1
        return "", 0.0


def last_change() -> int:
    """Number of Orthanc's last change."""
    return int((get_json("/changes?last") or {}).get("Last", 0))
