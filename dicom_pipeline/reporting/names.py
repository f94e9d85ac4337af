"""What a study, its series and its images are called to a person, from their headers."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import integer_of, texts_of
from dicom_pipeline.dicom.mosaics import tiles_of
from dicom_pipeline.domain import FrameKey, Plan, SeriesPlan, distinct_names, image_name, series_name, study_name
from dicom_pipeline.reporting.evidence import frames_of


def study_name_of(headers: Mapping[str, Dataset]) -> str:
    """The study's name for a person, of what any of its instances says first."""

    def first(keyword: str) -> str:
        return next((text for header in headers.values() for text in texts_of(header, keyword) if text.strip()), "")

    return study_name(first("StudyDescription"), first("StudyDate"), first("AccessionNumber"))


def series_number_of(series: SeriesPlan, headers: Mapping[str, Dataset]) -> int | None:
    """Series Number, from the header of any of the series' instances; used ones first."""
    uids = [frame.key.sop_instance_uid for frame in series.frames]
    uids += [item.sop_instance_uid for item in series.excluded]
    header = next((headers[uid] for uid in uids if uid in headers), Dataset())
    return integer_of(header, "SeriesNumber")


def series_names(plan: Plan, headers: Mapping[str, Dataset]) -> dict[str, str]:
    """Series Instance UID -> the series' name for a person; no two of a plan are alike."""
    return distinct_names(
        {
            s.series_instance_uid: series_name(s.modality, s.description, series_number_of(s, headers)).strip()
            for s in plan.series
        }
    )


def image_name_of(key: FrameKey, headers: Mapping[str, Dataset]) -> str:
    """An image's name for a person, within its series."""
    header = headers.get(key.sop_instance_uid, Dataset())
    number = integer_of(header, "InstanceNumber")
    if (tiles := tiles_of(header)) is not None:
        return image_name(number, key.frame, tiles.count, "slice")
    return image_name(number, key.frame, frames_of(header) or 1)
