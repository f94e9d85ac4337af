"""How studies, series and images are called to a person: by what a workstation shows of them, never by the tails of UIDs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def study_name(description: str, date: str, accession_number: str) -> str:
    """A study, such as "CT Thorax, 2026-01-05, accession A4711". What is missing or empty is left out.

    date: DICOM's DA, YYYYMMDD; another form is shown as it stands.
    """
    date = date.strip()
    if len(date) == 8 and date.isdecimal():
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    accession = f"accession {accession_number.strip()}" if accession_number.strip() else ""
    return ", ".join(part for part in (description.strip() or "study without a description", date, accession) if part)


def series_name(modality: str, description: str, number: int | None) -> str:
    """A series, such as "MR FLAIR (series 301)". What is missing or empty is left out."""
    name = " ".join(part for part in (modality.strip(), description.strip()) if part) or "series without a description"
    return name if number is None else f"{name} (series {number})"


def image_name(number: int | None, frame: int, frames: int, part: str = "frame") -> str:
    """An image of a series, such as "image 12" or, of one with several frames, "image 1, frame 3".

    number: Instance Number. part: what a frame is called, for a mosaic's are slices.
    """
    name = "image without a number" if number is None else f"image {number}"
    return name if frames <= 1 else f"{name}, {part} {frame}"


def distinct_names(names: Mapping[Key, str]) -> dict[Key, str]:
    """Names in the same order; one that several share is counted, such as "CT Chest [2]"."""
    same, seen = Counter(names.values()), Counter[str]()
    made = {}
    for key, name in names.items():
        seen[name] += 1
        made[key] = name if same[name] == 1 else f"{name} [{seen[name]}]"
    return made
