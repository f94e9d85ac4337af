"""The studies in files and folders, ready to be processed, where no catalog knows of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dicom_pipeline.domain import Excluded, Revision
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.scan import Scan, digest_file, scan

FIRST_YEAR, LAST_YEAR = 1895, 2999
"""No image is older than X-rays; 9999 and the like stand for "unknown"."""


@dataclass(frozen=True, slots=True)
class StudyInput:
    """One study to process: its revision, the headers of its instances, and what was unreadable before planning."""

    revision: Revision
    headers: Sequence[Header]
    left_out: tuple[Excluded, ...] = ()


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
        left_out = tuple(found.left_out.get(study_uid, ()))
        yield StudyInput(revision_of(study_uid, headers), headers, left_out)


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
