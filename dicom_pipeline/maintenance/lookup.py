"""Studies by what a person has in hand: a UID, an accession number, or a part of either."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.studies import FoundStudy, find_studies, unread_studies
from dicom_pipeline.dicom.attributes import UNPARSABLE, texts_of
from dicom_pipeline.dicom.warnings import suppress_warnings

MOST_READ = 1000
"""Studies whose accession number is read from a file: those that no worker has begun, and those of an earlier version."""


def look_up(folder: Path, catalog: Catalog, text: str, most: int) -> list[FoundStudy]:
    """Studies of this UID or accession number; without any, the newest that have the text in one of these.

    folder: of the spool. text: also a UID as logs and tables shorten it. The accession number of a study that no worker has
    read yet is read from its first file, for the newest MOST_READ of these.
    """
    text = text.strip().removeprefix("…")
    found = find_studies(catalog, text, most)
    known = {study.study_instance_uid for study in found}
    if text in known or any(study.accession_number == text for study in found):
        return found
    unread = [(uid, path) for uid, path in unread_studies(catalog, MOST_READ) if path and uid not in known]
    numbers = [FoundStudy(uid, _accession_number(folder / path)) for uid, path in unread if path]
    exact = [study for study in numbers if study.accession_number == text]
    part = [study for study in numbers if text.upper() in (study.accession_number or "").upper()]
    return exact or [*found, *part][:most]


def _accession_number(path: Path) -> str:
    """Of a file in the spool, empty where it has none or cannot be read: the worker's account says what is wrong with it."""
    try:
        with suppress_warnings():
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=["AccessionNumber"], force=True)
            return "\\".join(part.strip() for part in texts_of(dataset, "AccessionNumber"))
    except UNPARSABLE:
        return ""
