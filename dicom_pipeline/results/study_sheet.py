"""The contact sheet of a study: under each series' name its pictures, each with its image, place, score and mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image
from pydicom import Dataset

from dicom_pipeline.domain import Domain, FrameDomain, FrameKey, Plan, Rendering, Score, score_text
from dicom_pipeline.imaging import contact_sheet
from dicom_pipeline.imaging.sheet import SheetGroup, SheetPicture
from dicom_pipeline.reporting.names import image_name_of, series_names, study_name_of

SHEET_FRAMES = 24
"""Frames of one study on a contact sheet, evenly; each series' heading says of how many."""


NEGLIGIBLE = 0.01

NOTICE = "AI RESEARCH - NOT FOR DIAGNOSIS. Under each picture its highest score, uncalibrated."


def study_sheet(
    plan: Plan,
    headers: Mapping[str, Dataset],
    renderings: Sequence[Rendering],
    *,
    scores: Sequence[Score] = (),
    domains: Mapping[FrameKey, FrameDomain] | None = None,
    revision: int | None = None,
) -> Image.Image:
    """Draw it. scores: of frames; the highest of each stands under it. headers: by SOP Instance UID.

    The pictures are what the encoder gets, 448 x 448, made smaller.
    """
    title = study_name_of(headers)
    groups = sheet_groups(plan, headers, renderings, scores, domains or {})
    return contact_sheet(
        groups, title=title if revision is None else f"{title}, revision {revision}", notice=NOTICE if scores else ""
    )


def _note(highest: Score) -> str:
    """What stands under a picture: a label whose score is next to nothing would read as a finding."""
    if highest.value < NEGLIGIBLE:
        return f"all scores below {NEGLIGIBLE}"
    return f"{highest.label} {score_text(highest.value, 2)}"


def sheet_groups(
    plan: Plan,
    headers: Mapping[str, Dataset],
    renderings: Sequence[Rendering],
    scores: Sequence[Score],
    domains: Mapping[FrameKey, FrameDomain],
) -> list[SheetGroup]:
    """A group for each series of which a picture is shown, in the plan's order."""
    highest: dict[FrameKey, Score] = {}
    for score in scores:
        if score.frame is not None and (score.frame not in highest or score.value > highest[score.frame].value):
            highest[score.frame] = score
    names, groups = series_names(plan, headers), []
    for series in plan.series:
        pictures = [
            _picture(each, headers, highest.get(each.frame.key), domains.get(each.frame.key))
            for each in renderings
            if each.frame.series_instance_uid == series.series_instance_uid
        ]
        if pictures:
            name = names[series.series_instance_uid]
            heading = f"{name}: {len(pictures)} of {len(series.frames)} inputs, {series.preset}"
            groups.append(SheetGroup(heading, pictures))
    return groups


def _picture(
    rendering: Rendering, headers: Mapping[str, Dataset], score: Score | None, domain: FrameDomain | None
) -> SheetPicture:
    frame = rendering.frame
    place = "" if frame.position_mm is None else f" at {frame.position_mm:.0f} mm"
    return SheetPicture(
        rendering.pixels,
        name=image_name_of(frame.key, headers) + place,
        note=_note(score) if score else "",
        warning="OUT OF DOMAIN" if domain is not None and domain.domain is Domain.OUT else "",
    )
