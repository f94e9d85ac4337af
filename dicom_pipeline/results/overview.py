"""The page report.html: every study of a run with its account, scores, reasons and pictures, in one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, select_autoescape
from PIL import Image

from dicom_pipeline.domain import NO_LABEL_APPLIES, NO_USABLE_IMAGE, Excluded, Level, Reason, score_text
from dicom_pipeline.results.score_rows import ScoreRow


def render_overview(
    plans: Sequence[Mapping[str, Any]],
    scores: Sequence[ScoreRow],
    reports: Sequence[str],
    sheets: Sequence[Image.Image | None],
    excluded: Sequence[Excluded],
) -> str:
    """HTML with the pictures inside; needs no network and no other file."""
    series_scores: dict[str, list[ScoreRow]] = {}
    for score in scores:
        if score.level is Level.SERIES:
            series_scores.setdefault(score.series_instance_uid, []).append(score)
    for members in series_scores.values():
        members.sort(key=lambda score: -score.value)
    template = (resources.files("dicom_pipeline") / "data" / "templates" / "overview.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    environment.filters["score"] = score_text
    return environment.from_string(template).render(
        plans=plans,
        series_scores=series_scores,
        reports=reports,
        pictures=[_data_url(sheet) if sheet is not None else "" for sheet in sheets],
        excluded=excluded,
        no_report=NO_LABEL_APPLIES if any(plan["instances"]["used"] for plan in plans) else NO_USABLE_IMAGE,
        sentences={reason.value: reason.sentence for reason in Reason},
        notices=sorted({plan["notice"] for plan in plans if plan.get("notice")}),
    )


def _data_url(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
