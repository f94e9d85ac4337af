"""Fetch studies from an Orthanc over its REST API: what it holds and the pipeline lacks, with an account to the instance."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import HttpError, ResourceNotFound

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import announce
from dicom_pipeline.catalog.studies import held_instances, study_account
from dicom_pipeline.dicom.uids import is_valid_uid, report_series_uid
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import StudyState
from dicom_pipeline.errors import DeliveryError
from dicom_pipeline.intake.receiver import Taken, Uploads

log = logging.getLogger(__name__)

PAGE = 200
"""Studies of one request when an archive is listed."""

BROKEN_FILE = 500
"""HTTP status of Orthanc's where the file of an instance is gone from its storage or damaged."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which studies and series are fetched.

    since, until: study dates as YYYYMMDD, inclusive; a study without a date fits only where neither is given.
    modalities: of series; empty takes all. description: regular expression, searched in the study's or the series' text.
    """

    since: str = ""
    until: str = ""
    modalities: tuple[str, ...] = ()
    description: str = ""

    def study(self, study: Mapping[str, Any]) -> bool:
        """Whether a study (Orthanc's JSON) lies within the dates."""
        date = str(study["MainDicomTags"].get("StudyDate", ""))
        if (self.since or self.until) and not date:
            return False
        return (not self.since or date >= self.since) and (not self.until or date <= self.until)

    def series(self, study: Mapping[str, Any], series: Mapping[str, Any]) -> bool:
        """Whether a series (Orthanc's JSON) of a study is wanted."""
        tags = series["MainDicomTags"]
        if self.modalities and tags.get("Modality", "") not in self.modalities:
            return False
        texts = (study["MainDicomTags"].get("StudyDescription", ""), tags.get("SeriesDescription", ""))
        return not self.description or any(re.search(self.description, text, re.IGNORECASE) for text in texts)

    def as_values(self) -> dict[str, Any]:
        """The filters as JSON-like values."""
        return asdict(self)


@dataclass(slots=True)
class Pace:
    """Keeps to a rate in instances a second; None is as fast as it goes. sleep: so that a test needs no clock."""

    per_second: float | None = None
    sleep: Callable[[float], None] = time.sleep
    _next: float = field(default=0.0, init=False)

    def wait(self) -> None:
        """Wait until the next instance may be fetched."""
        if self.per_second is None:
            return
        now = time.monotonic()
        if self._next > now:
            self.sleep(self._next - now)
        self._next = max(self._next, now) + 1.0 / self.per_second


@dataclass(frozen=True, slots=True)
class PulledStudy:
    """What became of a study's instances: word -> count, which sum up to `instances`, Orthanc's own count.

    Words: those of intake.Taken; held (was here already), not-wanted (outside the filters), vanished (deleted meanwhile),
    not-readable (Orthanc lists the instance and cannot give its file).
    """

    instances: int
    account: Mapping[str, int]


def list_studies(client: OrthancApiClient) -> Iterator[dict[str, Any]]:
    """All studies of an Orthanc, expanded, a page of them in memory at a time. One that is added meanwhile may be missed."""
    since = 0
    while True:
        page = client.get_json(f"studies?expand&since={since}&limit={PAGE}")
        yield from page
        since += len(page)
        if len(page) < PAGE:
            return


def pull_study(
    client: OrthancApiClient,
    catalog: Catalog,
    uploads: Uploads,
    orthanc_id: str,
    wanted: Wanted,
    *,
    source: str,
    pace: Pace | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> PulledStudy:
    """Fetch what the pipeline lacks of a study, announced before so that it need not wait. progress: instances done.

    Raises ResourceNotFound for a study that is gone, OrthancApiException where Orthanc does not answer, DeliveryError where
    the disk is full; what was fetched until then stays and is not fetched again.
    """
    study = client.get_json(f"studies/{orthanc_id}")
    uid = str(study["MainDicomTags"].get("StudyInstanceUID", ""))
    series = {one["ID"]: one for one in client.get_json(f"studies/{orthanc_id}/series")}
    instances = client.get_json(f"studies/{orthanc_id}/instances")
    counts: Counter[str] = Counter()
    chosen: dict[str, str] = {}
    for instance in instances:
        one = series.get(instance["ParentSeries"])
        sop = str(instance["MainDicomTags"].get("SOPInstanceUID", ""))
        if one is not None and one["MainDicomTags"].get("SeriesInstanceUID") == report_series_uid(uid):
            counts[Taken.OWN_OBJECT] += 1
        elif one is None or not wanted.series(study, one):
            counts["not-wanted"] += 1
        else:
            chosen[instance["ID"]] = sop
    held = _held(catalog, uid, set(chosen.values()))
    fetch = {instance_id: sop for instance_id, sop in chosen.items() if sop not in held}
    if len(fetch) < len(chosen):
        counts["held"] += len(chosen) - len(fetch)
    progress(counts.total())
    expected = len(held) + len(fetch)
    if fetch and is_valid_uid(uid):
        announce(catalog, uid, expected, time.time())
    try:
        for instance_id in fetch:
            (pace or Pace()).wait()
            what = _take(client, uploads, instance_id, source)
            counts[what] += 1
            expected -= what not in (Taken.NEW, Taken.DUPLICATE)
            progress(1)
    finally:
        uploads.transfers.flush()
    if 0 < expected < len(held) + len(fetch):
        announce(catalog, uid, expected, time.time())  # what was refused or vanished will not come
    return PulledStudy(len(instances), {str(word): count for word, count in counts.items()})


def _held(catalog: Catalog, study_instance_uid: str, offered: set[str]) -> set[str]:
    """SOP Instance UIDs that need not be fetched when `offered` are there.

    What was cleaned from the spool after delivery is fetched again only together with something new, whose revision needs it.
    """
    account = study_account(catalog, study_instance_uid)
    gathers = account is not None and account["state"] in (StudyState.RECEIVING, StudyState.HELD)
    kept = [instance for instance in held_instances(catalog, study_instance_uid) if instance.is_primary]
    known = {instance.sop_instance_uid for instance in kept}
    return known if offered <= known and not gathers else {i.sop_instance_uid for i in kept if not i.removed}


def _take(client: OrthancApiClient, uploads: Uploads, instance_id: str, source: str) -> str:
    try:
        content = client.get_binary(f"instances/{instance_id}/file")
    except ResourceNotFound:
        return "vanished"
    except HttpError as error:
        if error.http_status_code != BROKEN_FILE:
            raise
        log.warning("Orthanc cannot read the file of instance %s", instance_id[:8])
        return "not-readable"
    taken = uploads.take(content, source="ORTHANC", address=source[:64]).taken
    if taken.may_succeed_later:
        raise DeliveryError(f"instance {short_uid(instance_id)} is refused: {taken.value}; free some space, then go on")
    return taken.value
