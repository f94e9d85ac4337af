"""What a source is: a place that holds studies, lists them, counts them and gives their instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series as its source lists it. key: the source's own name of it. instances: how many it has there."""

    key: str
    series_instance_uid: str
    modality: str
    description: str
    instances: int


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study as its source lists it. key: the source's own name of it. date: YYYYMMDD, "" where it has none."""

    key: str
    study_instance_uid: str
    date: str
    description: str
    series: tuple[ListedSeries, ...]

    @property
    def instances(self) -> int:
        """How many instances it has."""
        return sum(series.instances for series in self.series)


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance as its source lists it. key: the source's own name of it."""

    key: str
    sop_instance_uid: str
    series: ListedSeries


class Source(Protocol):
    """Somewhere that studies are fetched from. Every method raises SourceError where the source does not answer."""

    @property
    def interface(self) -> str:
        """What instances from here are said to have come by: at most 16 characters, such as ORTHANC."""
        ...

    @property
    def address(self) -> str:
        """Which source of this kind it is."""
        ...

    def list_studies(self) -> Iterator[ListedStudy]:
        """All studies. One that comes or goes meanwhile may be missed."""
        ...

    def count_instances(self) -> int:
        """How many instances it holds, by its own count."""
        ...

    def study(self, key: str) -> ListedStudy:
        """One study. Raises NotInSourceError where it is gone."""
        ...

    def instances(self, study: ListedStudy) -> list[ListedInstance]:
        """The instances of a study. Raises NotInSourceError where it is gone."""
        ...

    def read(self, instance: ListedInstance) -> Iterator[bytes]:
        """An instance as a Part 10 file, piece by piece.

        Raises NotInSourceError where it is gone, UnreadableInSourceError where the source has lost its file.
        """
        ...
