"""A lost or broken catalog built anew: from the files of the spool, and from the records beside the results.

A file's name is a hash of its UID and content, so a name that fits says that the file is whole. What no file says is lost:
refusals, announcements, what is fetched from others, promises of Storage Commitment, and how far deliveries had come. So
every report is due again at its destinations, which hold it once under its UID; and files that were here before a rebuild
are not cleaned until a person says so, since one of them may have been promised to its sender.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Received
from dicom_pipeline.catalog.database import is_whole, put_in_place
from dicom_pipeline.catalog.records import RECORD_SCHEMA, enter_file, enter_record, settle_rebuilt
from dicom_pipeline.config import Settings
from dicom_pipeline.dicom.identity import read_identity
from dicom_pipeline.disk import exclusive_lock, sync_folder
from dicom_pipeline.errors import UsageError
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.entry import MAX_COMPARED, Origin, received_as
from dicom_pipeline.intake.spool import Stored, dataset_sha256, instance_path
from dicom_pipeline.results.record import RECORD_NAME

AT_ONCE = 500
"""Instances of one transaction."""

SAME_CONTENT = "same-content: what another file holds under this UID, written in another way; that one counts"

Key = tuple[str, str]
"""SOP Instance UID and sha256."""


@dataclass(slots=True)
class Rebuilt:
    """The account: files = entered + conflicts + left. Paths are relative to the data folder.

    skipped: file -> why it was not entered; it stays where it is. missing_files: instances that a record names and that have no
    file (cleaned or lost). records: revisions restored. records_skipped: result folder -> why its revision was not.
    backup: where the old catalog lies.
    """

    files: int = 0
    entered: int = 0
    conflicts: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    missing_files: int = 0
    records: int = 0
    reports: int = 0
    records_skipped: dict[str, str] = field(default_factory=dict)
    backup: str = ""


def rebuild(settings: Settings, *, force: bool = False, progress: Callable[[int], None] = lambda _: None) -> Rebuilt:
    """Build the catalog anew; the old one is kept beside it. progress: files read so far.

    Raises ConfigError while a service works in the folder, UsageError where the catalog is whole and not `force`.
    """
    folder = settings.spool.folder
    if not (folder / "instances").is_dir():
        raise UsageError(f"there is no spool in {folder}; is this the service's settings file?")
    with exclusive_lock(folder, "serve.lock"), exclusive_lock(folder, "clean.lock"):
        target = folder / "catalog.sqlite"
        if not force and is_whole(target):
            raise UsageError(
                f"{target} is whole: a rebuild would lose the state of deliveries, refusals and announcements; --force does it"
            )
        new = folder / "catalog.rebuilding.sqlite"
        for leftover in (new, Path(f"{new}-wal"), Path(f"{new}-shm")):
            leftover.unlink(missing_ok=True)
        catalog = Catalog(new)
        try:
            done = _fill(catalog, settings, progress)
        finally:
            catalog.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        backup = put_in_place(new, target, folder / f"catalog.before-{stamp}.sqlite")
        sync_folder(folder)
        done.backup = backup.name if backup else ""
        return done


def _fill(catalog: Catalog, settings: Settings, progress: Callable[[int], None]) -> Rebuilt:
    done, now, folder = Rebuilt(), time.time(), settings.spool.folder
    records = list(_records(folder, done))
    recorded: dict[Key, tuple[Received, bool]] = {}
    for record in records:
        for row in record["instances"]:
            received = _of_record(row, record["study_instance_uid"])
            is_primary = bool(row.get("is_primary", row.get("kept")))  # a record of an earlier version says "kept"
            recorded.setdefault((received.sop_instance_uid, received.sha256), (received, is_primary))
    there: dict[Key, Received] = {}
    for path in sorted((folder / "instances").rglob("*.dcm")):
        done.files += 1
        progress(done.files)
        name = str(path.relative_to(folder))
        found = _read(path, name, settings.listener.max_inflated_bytes)
        if isinstance(found, str):
            done.skipped[name] = found
        else:
            there[found.sop_instance_uid, found.sha256] = found
    entries = {**there, **{key: received for key, (received, _) in recorded.items()}}
    first = {key for key, (_, kept) in recorded.items() if kept}
    ordered = sorted(entries, key=lambda key: (key not in first, entries[key].at, key))
    for key in _same_again([key for key in ordered if key in there], recorded, there, folder):
        done.skipped[there[key].path] = SAME_CONTENT
        ordered.remove(key)
        del entries[key], there[key]
    done.missing_files = len(entries) - len(there)
    done.conflicts = len(there) - len({uid for uid, _ in there})
    done.entered = len(there) - done.conflicts
    for start in range(0, len(ordered), AT_ONCE):
        with catalog.transaction() as run:
            for key in ordered[start : start + AT_ONCE]:
                enter_file(run, entries[key], there=key in there)
    for record in records:
        with catalog.transaction() as run:
            enter_record(run, record, now)
        done.records, done.reports = done.records + 1, done.reports + len(record["reports"])
    with catalog.transaction() as run:
        settle_rebuilt(run, now)
    return done


def _same_again(
    ordered: Sequence[Key], recorded: Container[Key], there: Mapping[Key, Received], folder: Path
) -> list[Key]:
    """Which files hold again what an earlier one of their UID holds, as the listener would have found. A record's stay."""
    again: list[Key] = []
    earlier: defaultdict[str, list[Path]] = defaultdict(list)
    comparison = Comparison()
    try:
        for key in ordered:
            path, others = folder / there[key].path, earlier[key[0]]
            if key not in recorded and any(comparison.same(other, path) for other in others[:MAX_COMPARED]):
                again.append(key)
            else:
                others.append(path)
    finally:
        comparison.close()
    return again


def _read(path: Path, name: str, most_inflated: int) -> Received | str:
    """A file of the spool as it was received, or why it is none. Its time is the file's."""
    try:
        meta = read_file_meta_info(path)
        syntax = str(meta.TransferSyntaxUID)
        with path.open("rb") as stream:
            stream.seek(140)
            stream.seek(144 + int.from_bytes(stream.read(4), "little"))
            identity = read_identity(stream, syntax, most_inflated)
        sha256, size, at = dataset_sha256(path), path.stat().st_size, path.stat().st_mtime
    except Exception:  # noqa: BLE001 - the edge of a file: whatever lies in a damaged spool must not end the rebuild
        return "unreadable: no DICOM file, or cut short in its header"
    if not identity.whole:
        return "missing-uid: lacks a valid study, series or SOP Instance UID"
    if instance_path(identity.sop_instance_uid, sha256) != name:
        return "torn: its content is not what its name says; it was never acknowledged, or is damaged"
    sender = str(meta.get("SourceApplicationEntityTitle", "")).strip()
    return received_as(identity, Origin(syntax, sender, ""), Stored(name, size, sha256, fresh=False), at)


def _of_record(row: Mapping[str, Any], study_instance_uid: str) -> Received:
    names = {f.name for f in fields(Received)} & set(row)
    values = {name: row[name] for name in names}
    return Received(**values, study_instance_uid=study_instance_uid, token="", at=row["received_at"])


def _records(folder: Path, done: Rebuilt) -> Iterator[dict[str, Any]]:
    """The records of finished revisions whose reports are whole, a study's in their order."""
    folders = [path for path in (folder / "results").glob("*/r*") if re.fullmatch(r"r\d+", path.name)]
    for results in sorted(folders, key=lambda path: (path.parent.name, int(path.name[1:]))):
        name = str(results.relative_to(folder))
        try:
            record = json.loads((results / RECORD_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            done.records_skipped[name] = f"has no {RECORD_NAME}: the revision failed, or an earlier version made it"
            continue
        except (OSError, ValueError):
            done.records_skipped[name] = f"its {RECORD_NAME} cannot be read"
            continue
        if not isinstance(record, dict) or record.get("schema") != RECORD_SCHEMA:
            done.records_skipped[name] = f"its {RECORD_NAME} is not of schema {RECORD_SCHEMA}"
        elif not all(_is_there(folder / report["path"], report["sha256"]) for report in record["reports"]):
            done.records_skipped[name] = "a report of it is missing or damaged"
        else:
            yield record


def _is_there(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
