"""A run over what an Orthanc holds already: listed once, fetched study by study, taken up again after a stop."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import ResourceNotFound

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.pulls import (
    BackfillStudy,
    backfill_studies,
    finish_backfill,
    open_backfill,
    record_backfill_study,
    start_backfill,
)
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.sources.fetch import Pace, Wanted, list_studies, pull_study

OTHERS = "others"
"""Stands in a run for all studies without a series that fits: their instances are in the account too."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What an Orthanc holds. studies: Orthanc id -> instances, of the studies with a series that fits.

    fitting: instances of the series that fit. outside: instances of all other studies. instances: Orthanc's own total.
    """

    studies: dict[str, int]
    fitting: int
    outside: int
    instances: int

    @property
    def agrees(self) -> bool:
        """Whether the studies' counts sum up to Orthanc's total."""
        return sum(self.studies.values()) + self.outside == self.instances


def list_wanted(client: OrthancApiClient, wanted: Wanted, progress: Callable[[int], None] = lambda _: None) -> Listing:
    """List an Orthanc, a request a study. progress: studies listed since the last call."""
    studies: dict[str, int] = {}
    fitting = outside = 0
    for study in list_studies(client):
        progress(1)
        try:
            series = client.get_json(f"studies/{study['ID']}/series")
        except ResourceNotFound:
            continue
        count = sum(len(one["Instances"]) for one in series)
        fits = sum(len(one["Instances"]) for one in series if wanted.study(study) and wanted.series(study, one))
        fitting += fits
        if fits:
            studies[study["ID"]] = count
        else:
            outside += count
    return Listing(studies, fitting, outside, int(client.get_json("statistics")["CountInstances"]))


class Backfill:
    """A run, new or taken up again. resumed: whether an earlier one with the same filters was stopped.

    listed: called while a new run lists the archive, with the studies listed since the last call.
    """

    def __init__(
        self,
        client: OrthancApiClient,
        catalog: Catalog,
        url: str,
        wanted: Wanted,
        listed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.client = client
        self.catalog = catalog
        self.wanted = wanted
        self.url = url
        self._filters = json.dumps(wanted.as_values(), sort_keys=True)
        found = open_backfill(catalog, url, self._filters)
        self.resumed = found is not None
        self.run_id = found if found is not None else self._start(listed)

    @property
    def instances(self) -> int:
        """How many instances the studies have that fit, by Orthanc's counts."""
        return sum(study.instances for study in self._fitting())

    @property
    def instances_done(self) -> int:
        """How many of them an earlier part of the run has dealt with."""
        return sum(study.instances for study in self._fitting() if study.account is not None)

    def run(self, receiver: Receiver, pace: Pace, progress: Callable[[int], None]) -> dict[str, Any]:
        """Fetch what is left, then give the account of the whole run.

        Raises OrthancApiException or DeliveryError where it cannot go on; the same call takes it up where it stopped.
        """
        for study in backfill_studies(self.catalog, self.run_id):
            if study.account is not None:
                continue
            if study.orthanc_id == OTHERS:
                record_backfill_study(
                    self.catalog, self.run_id, OTHERS, study.instances, {"not-wanted": study.instances}
                )
                continue
            try:
                pulled = pull_study(
                    self.client,
                    self.catalog,
                    receiver,
                    study.orthanc_id,
                    self.wanted,
                    source=self.url,
                    pace=pace,
                    progress=progress,
                )
                instances, account = pulled.instances, dict(pulled.account)
            except ResourceNotFound:
                progress(study.instances)
                instances, account = study.instances, {"vanished": study.instances}
            record_backfill_study(self.catalog, self.run_id, study.orthanc_id, instances, account)
        finish_backfill(self.catalog, self.run_id, time.time())
        return self.account()

    def account(self) -> dict[str, Any]:
        """The account: instances by Orthanc's count, and what became of them by word; `balanced` where both are equal.

        orthanc_instances: Orthanc's total now; another one where studies came or went since the run began.
        """
        studies = backfill_studies(self.catalog, self.run_id)
        outcomes: Counter[str] = Counter()
        for study in studies:
            outcomes.update(study.account or {})
        instances = sum(study.instances for study in studies)
        return {
            "studies": sum(study.orthanc_id != OTHERS for study in studies),
            "instances": instances,
            "orthanc_instances": int(self.client.get_json("statistics")["CountInstances"]),
            "outcomes": dict(sorted(outcomes.items())),
            "balanced": outcomes.total() == instances,
        }

    def _fitting(self) -> list[BackfillStudy]:
        return [study for study in backfill_studies(self.catalog, self.run_id) if study.orthanc_id != OTHERS]

    def _start(self, listed: Callable[[int], None]) -> int:
        listing = list_wanted(self.client, self.wanted, listed)
        studies = {**listing.studies, OTHERS: listing.outside} if listing.outside else listing.studies
        return start_backfill(self.catalog, self.url, self._filters, studies, time.time())
