"""What series and images of a plan are called in its report, from the headers that it refers to."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.domain import FrameKey, Plan, SeriesPlan, distinct_names, image_name, series_name
from dicom_pipeline.reporting.evidence import frames_of


def series_number_of(series: SeriesPlan, headers: Mapping[str, Dataset]) -> int | None:
    """Series Number, from the header of any of the series' instances that the report refers to."""
    uids = (frame.key.sop_instance_uid for frame in series.frames)
    header = next((headers[uid] for uid in uids if uid in headers), Dataset())
    return integer_of(header, "SeriesNumber")


def series_names(plan: Plan, headers: Mapping[str, Dataset]) -> dict[str, str]:
    """Series Instance UID -> the series' name for a person, for all series with used frames; no two are alike."""
    used = [series for series in plan.series if series.frames]
    return distinct_names(
        {
            s.series_instance_uid: series_name(s.modality, s.description, series_number_of(s, headers)).strip()
            for s in used
        }
    )


def image_name_of(key: FrameKey, headers: Mapping[str, Dataset]) -> str:
    """An image's name for a person, within its series."""
    header = headers[key.sop_instance_uid]
    return image_name(integer_of(header, "InstanceNumber"), key.frame, frames_of(header) or 1)
