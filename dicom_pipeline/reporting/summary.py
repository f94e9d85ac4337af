"""What a person reads first in a report: that it is research, and the highest scores with the images they come from.

Items of the root, before the image library: TID 1500 is extensible, and viewers that print a tree show it from the top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.domain import Plan, Score, score_text
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.names import image_name_of, series_names

STATEMENT = "Research use only, not for diagnosis."

LABELS_PER_SERIES = 3


def add_summary(
    report: Dataset, plan: Plan, scores: Sequence[Score], headers: Mapping[str, Dataset], notice: str
) -> None:
    """Put statement, notice and summary before the measurements. headers: cleaned, of the images that scores refer to."""
    items = [_text("comment", text) for text in (STATEMENT, notice) if text]
    items += [_text("summary", line) for line in summary_lines(scores, series_names(plan, headers), headers)]
    *before, measurements = report.ContentSequence
    report.ContentSequence = DicomSequence([*before, *items, measurements])


def summary_lines(scores: Sequence[Score], titles: Mapping[str, str], headers: Mapping[str, Dataset]) -> list[str]:
    """A line for each of a series' highest scores, such as "MR FLAIR (series 301), image 12: Brain lesion 0.74".

    titles: the series' names for a person by UID.
    """
    lines = []
    for uid, title in titles.items():
        mine = [s for s in scores if s.series_instance_uid == uid and s.derivation is not None]
        for score in sorted(mine, key=lambda s: (-s.value, s.label))[:LABELS_PER_SERIES]:
            image = image_name_of(score.frame, headers)
            lines.append(f"{title}, {image}: {score.label} {score_text(score.value, 2)}")
    return lines


def _text(name: str, text: str) -> Dataset:
    return codes.text_item("CONTAINS", name, "".join(c for c in text if c.isprintable()))
