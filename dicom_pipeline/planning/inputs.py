"""Studies ready to be processed: of files and folders that no catalog knows of, and of instances that one does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from dicom_pipeline.domain import Excluded, InstanceError, Reason, Revision
from dicom_pipeline.planning.headers import Header, read_header
from dicom_pipeline.planning.scan import Scan, digest_file, scan

FIRST_YEAR, LAST_YEAR = 1895, 2999
"""No image is older than X-rays; 9999 and the like stand for "unknown"."""


@dataclass(frozen=True, slots=True)
class StudyInput:
    """One study to process: its revision, the headers of its instances, and what was unreadable before planning."""

    revision: Revision
    headers: Sequence[Header]
    excluded: tuple[Excluded, ...] = ()


class EnteredInstance(Protocol):
    """An instance as a catalog knows it. path: relative to a folder; removed: its file is there no more.

    is_primary: False for conflicting content under a known UID.
    """

    @property
    def sop_instance_uid(self) -> str: ...  # noqa: D102
    @property
    def series_instance_uid(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def is_primary(self) -> bool: ...  # noqa: D102
    @property
    def removed(self) -> bool: ...  # noqa: D102


def entered_headers(
    folder: Path,
    study_instance_uid: str,
    instances: Iterable[EnteredInstance],
    progress: Callable[[], object] = lambda: None,
) -> tuple[list[Header], list[Excluded]]:
    """The headers of a study's instances, and why the others have none. progress: called for each."""
    headers: list[Header] = []
    excluded: list[Excluded] = []
    for instance in instances:
        progress()
        path = folder / instance.path
        try:
            headers.append(_entered_header(path, study_instance_uid, instance))
        except InstanceError as error:
            excluded.append(error.excluded(path, instance.sop_instance_uid, instance.series_instance_uid))
    return headers, excluded


def _entered_header(path: Path, study_instance_uid: str, instance: EnteredInstance) -> Header:
    """The header of an instance, which must name the UIDs that it was entered under: no report may name other ones."""
    if not instance.is_primary:
        raise InstanceError(Reason.CONTENT_CONFLICT)
    if instance.removed:
        raise InstanceError(Reason.CLEANED)
    header = read_header(path)
    entered = {
        "SOPInstanceUID": (header.sop_instance_uid, instance.sop_instance_uid),
        "SeriesInstanceUID": (header.series_instance_uid, instance.series_instance_uid),
        "StudyInstanceUID": (header.study_instance_uid, study_instance_uid),
    }
    if other := [name for name, (one, two) in entered.items() if one != two]:
        raise InstanceError(Reason.IDENTITY_MISMATCH, ", ".join(other))
    return header


def study_inputs(
    paths: Iterable[Path | str], same_content: Callable[[Path, Path], bool] = lambda *_: False
) -> Iterator[StudyInput]:
    """The studies in files and folders, each as revision 1. same_content: as for `scan`.

    There is no record of when they were processed, and a report may not depend on the clock, so the revision's time is
    the latest time that the study itself states (docs/decisions).
    """
    yield from study_inputs_of(scan([Path(path) for path in paths], same_content))


def study_inputs_of(found: Scan) -> Iterator[StudyInput]:
    """The studies of a scan, each as revision 1, in the order of their UIDs."""
    for study_uid, headers in sorted(found.studies.items()):
        excluded = tuple(found.excluded.get(study_uid, ()))
        yield StudyInput(revision_of(study_uid, headers), headers, excluded)


def revision_of(study_uid: str, headers: Sequence[Header]) -> Revision:
    """Revision 1 of a study that no catalog knows: its time is the latest that its instances state, 1970 without any."""
    stated = [_stated_time(header) for header in headers]
    created = max((time for time in stated if time is not None), default=datetime(1970, 1, 1, tzinfo=UTC))
    return Revision(study_uid, 1, created, {header.sop_instance_uid: digest_file(header.path) for header in headers})


def _stated_time(header: Header) -> datetime | None:
    """The latest content, acquisition, series or study time of an instance, in UTC where it states its time zone."""
    offset = header.text("TimezoneOffsetFromUTC")
    zone = f" {offset}" if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", offset) else " +0000"
    times = []
    for kind in ("Content", "Acquisition", "Series", "Study"):
        text = f"{header.text(kind + 'Date')} {header.text(kind + 'Time').split('.')[0] or '000000'}{zone}"
        try:
            stated = datetime.strptime(text, "%Y%m%d %H%M%S %z")
        except ValueError:
            continue  # a missing or odd time is no time
        if FIRST_YEAR <= stated.year <= LAST_YEAR:
            times.append(stated)
    return max(times, default=None)
