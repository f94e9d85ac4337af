"""Fetch one study from a source: what that holds and the pipeline lacks, with an account to the instance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import announce
from dicom_pipeline.catalog.studies import held_instances, study_account
from dicom_pipeline.dicom.uids import is_valid_uid, report_series_uid
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import StudyState
from dicom_pipeline.errors import DeliveryError, NotInSourceError, UnreadableInSourceError
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.sources.rate_limiter import RateLimiter
from dicom_pipeline.sources.source import ListedInstance, Source
from dicom_pipeline.sources.study_filter import StudyFilter


@dataclass(frozen=True, slots=True)
class FetchedStudy:
    """What became of a study's instances: word -> count, which sum up to `instances`, the source's own count.

    Words: those of UploadResult; held (was here already), not-wanted (outside the filters), vanished (deleted meanwhile),
    not-readable (the source lists the instance and cannot give its file).
    """

    instances: int
    account: Mapping[str, int]


def fetch_study(
    source: Source,
    catalog: Catalog,
    receiver: Receiver,
    key: str,
    wanted: StudyFilter,
    *,
    rate: RateLimiter | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> FetchedStudy:
    """Fetch what the pipeline lacks of a study, announced before so that it need not wait. progress: instances done.

    Raises NotInSourceError for a study that is gone, SourceError where the source does not answer, DeliveryError where the
    disk is full; what was fetched until then stays and is not fetched again.
    """
    rate = rate or RateLimiter()
    study = source.study(key)
    uid = study.study_instance_uid
    instances = source.instances(study)
    counts: Counter[str] = Counter()
    chosen: list[ListedInstance] = []
    for instance in instances:
        if instance.series.series_instance_uid == report_series_uid(uid):
            counts[UploadResult.OWN_OBJECT] += 1
        elif not instance.series.series_instance_uid or not wanted.admits(study, instance.series):
            counts["not-wanted"] += 1
        else:
            chosen.append(instance)
    held = _held(catalog, uid, {instance.sop_instance_uid for instance in chosen})
    missing = [instance for instance in chosen if instance.sop_instance_uid not in held]
    if len(missing) < len(chosen):
        counts["held"] += len(chosen) - len(missing)
    progress(counts.total())
    expected = len(held) + len(missing)
    if missing and is_valid_uid(uid):
        announce(catalog, uid, expected, time.time())
    try:
        for instance in missing:
            rate.wait()
            result = _fetch_instance(source, receiver, instance)
            counts[result] += 1
            expected -= result not in (UploadResult.NEW, UploadResult.DUPLICATE)
            progress(1)
    finally:
        receiver.transfers.flush()
    if 0 < expected < len(held) + len(missing):
        announce(catalog, uid, expected, time.time())  # what was refused or vanished will not come
    return FetchedStudy(len(instances), {str(word): count for word, count in counts.items()})


def _held(catalog: Catalog, study_instance_uid: str, offered: set[str]) -> set[str]:
    """SOP Instance UIDs that need not be fetched when `offered` are there.

    What was cleaned from the spool after delivery is fetched again only together with something new, whose revision needs it.
    """
    account = study_account(catalog, study_instance_uid)
    gathers = account is not None and account["state"] in (StudyState.RECEIVING, StudyState.HELD)
    primary = [instance for instance in held_instances(catalog, study_instance_uid) if instance.is_primary]
    known = {instance.sop_instance_uid for instance in primary}
    return known if offered <= known and not gathers else {i.sop_instance_uid for i in primary if not i.removed}


def _fetch_instance(source: Source, receiver: Receiver, instance: ListedInstance) -> str:
    """Stream an instance into a receipt; the word of the account for what became of it."""
    receipt = receiver.begin(source=source.interface, address=source.address)
    try:
        for piece in source.read(instance):
            receipt.write(piece)
        result = receipt.finish().result
    except NotInSourceError:
        return "vanished"
    except UnreadableInSourceError:
        return "not-readable"
    finally:
        receipt.abort()
    if result.retryable:
        name = short_uid(instance.sop_instance_uid)
        raise DeliveryError(f"instance {name} is refused: {result.value}; free some space, then go on")
    return result.value
