"""A run over what a source holds already: listed once, fetched study by study, taken up again after a stop."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.pulls import (
    BackfillStudy,
    backfill_studies,
    finish_backfill,
    open_backfill,
    record_backfill_study,
    start_backfill,
)
from dicom_pipeline.errors import NotInSourceError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.sources.fetch import fetch_study
from dicom_pipeline.sources.rate_limiter import RateLimiter
from dicom_pipeline.sources.source import Source
from dicom_pipeline.sources.study_filter import StudyFilter

OTHERS = "others"
"""Stands in a run for all studies without a series that fits: their instances are in the account too."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds. studies: its key -> instances, of the studies with a series that fits.

    fitting: instances of the series that fit. outside: instances of all other studies. instances: the source's own total.
    """

    studies: dict[str, int]
    fitting: int
    outside: int
    instances: int

    @property
    def agrees(self) -> bool:
        """Whether the studies' counts sum up to the source's total."""
        return sum(self.studies.values()) + self.outside == self.instances


def list_matching(source: Source, wanted: StudyFilter, progress: Callable[[int], None] = lambda _: None) -> Listing:
    """List a source. progress: studies listed since the last call."""
    studies: dict[str, int] = {}
    fitting = outside = 0
    for study in source.list_studies():
        progress(1)
        dated = wanted.admits_date(study)
        fits = sum(series.instances for series in study.series if dated and wanted.admits(study, series))
        fitting += fits
        if fits:
            studies[study.key] = study.instances
        else:
            outside += study.instances
    return Listing(studies, fitting, outside, source.count_instances())


class Backfill:
    """A run, new or resumed. resumed: whether an earlier one over the same url with the same filters was stopped.

    listed: called while a new run lists the archive, with the studies listed since the last call.
    """

    def __init__(
        self,
        source: Source,
        catalog: Catalog,
        url: str,
        wanted: StudyFilter,
        listed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.source = source
        self.catalog = catalog
        self.wanted = wanted
        self.url = url
        self._filters = json.dumps(wanted.as_values(), sort_keys=True)
        found = open_backfill(catalog, url, self._filters)
        self.resumed = found is not None
        self.run_id = found if found is not None else self._start(listed)

    @property
    def instances(self) -> int:
        """How many instances the studies have that fit, by the source's counts."""
        return sum(study.instances for study in self._fitting())

    @property
    def instances_done(self) -> int:
        """How many of them an earlier part of the run has dealt with."""
        return sum(study.instances for study in self._fitting() if study.account is not None)

    def run(self, receiver: Receiver, rate: RateLimiter, progress: Callable[[int], None]) -> dict[str, Any]:
        """Fetch what is left, then give the account of the whole run.

        Raises SourceError or DeliveryError where it cannot go on; the same call takes it up where it stopped.
        """
        for study in backfill_studies(self.catalog, self.run_id):
            if study.account is not None:
                continue
            if study.study_key == OTHERS:
                record_backfill_study(
                    self.catalog, self.run_id, OTHERS, study.instances, {"not-wanted": study.instances}
                )
                continue
            try:
                fetched = fetch_study(
                    self.source,
                    self.catalog,
                    receiver,
                    study.study_key,
                    self.wanted,
                    rate=rate,
                    progress=progress,
                )
                instances, account = fetched.instances, dict(fetched.account)
            except NotInSourceError:
                progress(study.instances)
                instances, account = study.instances, {"vanished": study.instances}
            record_backfill_study(self.catalog, self.run_id, study.study_key, instances, account)
        finish_backfill(self.catalog, self.run_id, time.time())
        return self.account()

    def account(self) -> dict[str, Any]:
        """The account: instances by the source's count, and what became of them by word; `balanced` where both are equal.

        source_instances: the source's total now; another one where studies came or went since the run began.
        """
        studies = backfill_studies(self.catalog, self.run_id)
        outcomes: Counter[str] = Counter()
        for study in studies:
            outcomes.update(study.account or {})
        instances = sum(study.instances for study in studies)
        return {
            "studies": sum(study.study_key != OTHERS for study in studies),
            "instances": instances,
            "source_instances": self.source.count_instances(),
            "outcomes": dict(sorted(outcomes.items())),
            "balanced": outcomes.total() == instances,
        }

    def _fitting(self) -> list[BackfillStudy]:
        return [study for study in backfill_studies(self.catalog, self.run_id) if study.study_key != OTHERS]

    def _start(self, listed: Callable[[int], None]) -> int:
        listing = list_matching(self.source, self.wanted, listed)
        studies = {**listing.studies, OTHERS: listing.outside} if listing.outside else listing.studies
        return start_backfill(self.catalog, self.url, self._filters, studies, time.time())
