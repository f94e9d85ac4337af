"""Which of a source's studies and series are fetched."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from dicom_pipeline.sources.source import ListedSeries, ListedStudy


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Conditions that must all be met.

    since, until: study dates as YYYYMMDD, inclusive; a study without a date fits only where neither is given.
    modalities: of series; empty takes all. description: regular expression, searched in the study's or the series' text.
    """

    since: str = ""
    until: str = ""
    modalities: tuple[str, ...] = ()
    description: str = ""

    def admits_date(self, study: ListedStudy) -> bool:
        """Whether a study lies within the dates."""
        if (self.since or self.until) and not study.date:
            return False
        return (not self.since or study.date >= self.since) and (not self.until or study.date <= self.until)

    def admits(self, study: ListedStudy, series: ListedSeries) -> bool:
        """Whether a series of a study is wanted, whatever the study's date."""
        if self.modalities and series.modality not in self.modalities:
            return False
        texts = (study.description, series.description)
        return not self.description or any(re.search(self.description, text, re.IGNORECASE) for text in texts)

    def as_values(self) -> dict[str, Any]:
        """The conditions as JSON-like values."""
        return asdict(self)
