"""Find the instances in files and folders, study by study."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dicom_pipeline.domain import Excluded, InstanceError, Reason
from dicom_pipeline.errors import UsageError
from dicom_pipeline.planning.headers import Header, read_header

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(slots=True)
class Scan:
    """What was found.

    studies: Study Instance UID -> headers, in file order. excluded: DICOM that cannot be planned, by study where
    that is known. other_files: files that are not DICOM instances (a DICOMDIR is not one).
    """

    studies: dict[str, list[Header]] = field(default_factory=dict)
    excluded: dict[str, list[Excluded]] = field(default_factory=dict)
    other_files: list[Path] = field(default_factory=list)


def scan(paths: Iterable[Path], same_content: Callable[[Path, Path], bool] = lambda *_: False) -> Scan:
    """Read the headers of all files in `paths`, folders in depth. Raises UsageError for a path that is not there.

    The same SOP Instance UID twice: the first in file order counts; the other is a DUPLICATE, or a CONTENT_CONFLICT where
    the bytes differ and `same_content`, which may decode pixels (dicom.sameness), does not find the same in them.
    """
    found, seen = Scan(), dict[str, Path]()
    for path in _files(paths):
        try:
            header = read_header(path)
        except InstanceError as error:
            if looks_like_dicom(path):
                found.excluded.setdefault("", []).append(error.excluded(path))
            else:
                found.other_files.append(path)
            continue
        first = seen.setdefault(header.sop_instance_uid, path)
        if first is path:
            found.studies.setdefault(header.study_instance_uid, []).append(header)
            continue
        same = digest_file(first) == digest_file(path) or same_content(first, path)
        reason = Reason.DUPLICATE if same else Reason.CONTENT_CONFLICT
        item = Excluded(reason, path, header.sop_instance_uid, header.series_instance_uid)
        found.excluded.setdefault(header.study_instance_uid, []).append(item)
    return found


def looks_like_dicom(path: Path) -> bool:
    """Whether a file calls itself DICOM (PS3.10 7.1) and is not a DICOMDIR, whose records are not instances.

    A file that may not be opened could be one: it is named as unreadable rather than passed over.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(400)
    except OSError:
        return True
    return start[128:132] == b"DICM" and MEDIA_STORAGE_DIRECTORY.encode() not in start


def digest_file(path: Path) -> str:
    """Sha256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(_under(path))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"no file or folder at {path}")


def _under(folder: Path) -> Iterable[Path]:
    """The files below a folder, and folders that may not be listed: these are named, not passed over."""
    shut: list[Path] = []
    for where, _, names in os.walk(folder, onerror=lambda error: shut.append(Path(error.filename))):
        yield from (path for name in names if (path := Path(where, name)).is_file())
    yield from shut
