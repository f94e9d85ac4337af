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
    backfill_studies,
    finish_backfill,
    open_backfill,
    record_backfill_study,
    start_backfill,
)
from dicom_pipeline.intake import Uploads
from dicom_pipeline.service.orthanc_pull import Pace, Wanted, instance_count, list_studies, pull_study


@dataclass(frozen=True, slots=True)
class Listing:
    """What an Orthanc holds. studies: Orthanc id -> instances, of the studies that fit. outside: instances of the others.

    instances: Orthanc's own total at the time.
    """

    studies: dict[str, int]
    outside: int
    instances: int

    @property
    def agrees(self) -> bool:
        """Whether the studies' counts sum up to Orthanc's total."""
        return sum(self.studies.values()) + self.outside == self.instances


def list_wanted(client: OrthancApiClient, wanted: Wanted) -> Listing:
    """List an Orthanc. A study fits by its dates; a series that does not fit is counted as not-wanted when it is fetched."""
    studies: dict[str, int] = {}
    outside = 0
    for study in list_studies(client):
        count = instance_count(client, study["ID"])
        if wanted.study(study):
            studies[study["ID"]] = count
        else:
            outside += count
    return Listing(studies, outside, int(client.get_json("statistics")["CountInstances"]))


class Backfill:
    """A run, new or taken up again. resumed: whether an earlier one with the same filters was stopped."""

    def __init__(self, client: OrthancApiClient, catalog: Catalog, url: str, wanted: Wanted) -> None:
        self.client = client
        self.catalog = catalog
        self.wanted = wanted
        self.url = url
        self._filters = json.dumps(wanted.as_values(), sort_keys=True)
        found = open_backfill(catalog, url, self._filters)
        self.resumed = found is not None
        self.run_id = found if found is not None else self._start()

    @property
    def instances(self) -> int:
        """How many instances the run has by Orthanc's counts."""
        return sum(study.instances for study in backfill_studies(self.catalog, self.run_id))

    @property
    def instances_done(self) -> int:
        """How many of them an earlier part of the run has dealt with."""
        return sum(s.instances for s in backfill_studies(self.catalog, self.run_id) if s.account is not None)

    def run(self, uploads: Uploads, pace: Pace, progress: Callable[[int], None]) -> dict[str, Any]:
        """Fetch what is left, then give the account of the whole run.

        Raises OrthancApiException or DeliveryError where it cannot go on; the same call takes it up where it stopped.
        """
        for study in backfill_studies(self.catalog, self.run_id):
            if study.account is not None:
                continue
            try:
                pulled = pull_study(
                    self.client,
                    self.catalog,
                    uploads,
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
        """The account: instances by Orthanc's count, and what became of them by word; `balanced` where both are equal."""
        studies = backfill_studies(self.catalog, self.run_id)
        outcomes: Counter[str] = Counter()
        for study in studies:
            outcomes.update(study.account or {})
        instances = sum(study.instances for study in studies)
        return {
            "studies": len(studies),
            "instances": instances,
            "outcomes": dict(sorted(outcomes.items())),
            "balanced": outcomes.total() == instances,
        }

    def _start(self) -> int:
        listing = list_wanted(self.client, self.wanted)
        return start_backfill(self.catalog, self.url, self._filters, listing.studies, time.time())
