"""Pages of rows for a browser, each one file that needs no network: search results, and the map of a store."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, select_autoescape
from PIL import Image

from dicom_pipeline.dicom.attributes import UNPARSABLE, integer_of, texts_of
from dicom_pipeline.dicom.reading import InflatedTooLargeError, read_file
from dicom_pipeline.domain import Frame, FrameKey, series_name
from dicom_pipeline.errors import DicomPipelineError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.pipeline.renderers import Renderers
from dicom_pipeline.reporting import image_name_of, study_name_of
from dicom_pipeline.research.search.viewers import Viewer

THUMBNAIL = 224


def search_page(
    rows: pa.Table, *, asked: str, path_of: Callable[[str], Path | None], viewers: Sequence[Viewer], notice: str = ""
) -> str:
    """HTML with a card a row: thumbnail, what the row says, links. path_of: SOP Instance UID -> file, None where unknown."""
    cards = []
    with Renderers() as renderers:
        for row in rows.drop_columns(["score_labels", "score_kinds", "score_values"]).to_pylist():
            path = path_of(row["sop_instance_uid"])
            cards.append(
                {
                    "row": row,
                    "name": _name(row, path) if path is not None else "",
                    "picture": thumbnail(row, path, renderers) if path is not None else "",
                    "links": [(viewer.name, viewer.link(row)) for viewer in viewers],
                }
            )
    return _render("search.html", asked=asked, cards=cards, notice=notice)


def _name(row: Mapping[str, Any], path: Path) -> str:
    """What a workstation calls the row's image, as in the report; "" where its file cannot be read."""
    try:
        header = read_file(path).dataset
    except (*UNPARSABLE, InflatedTooLargeError):
        return ""
    modality, description = ("".join(texts_of(header, keyword)[:1]) for keyword in ("Modality", "SeriesDescription"))
    series = series_name(modality, description, integer_of(header, "SeriesNumber"))
    image = image_name_of(FrameKey(row["sop_instance_uid"], row["frame"]), {row["sop_instance_uid"]: header})
    return f"{study_name_of({row['sop_instance_uid']: header})}: {series}, {image}"


def thumbnail(row: Mapping[str, Any], path: Path, renderers: Renderers) -> str:
    """A data URL of the row's frame under its preset, "" where it cannot be rendered.

    A preset that measures its series has only this frame to measure, so grey values may differ from what the model got.
    """
    frame = Frame(FrameKey(row["sop_instance_uid"], row["frame"]), path, row["series_instance_uid"])
    try:
        pixels = renderers.series(load_preset(row["preset"]), [frame]).render(frame).pixels
    except (DicomPipelineError, OSError):
        return ""
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def map_page(points: Sequence[Mapping[str, Any]], *, title: str, colours: Mapping[str, str]) -> str:
    """HTML with a map: points with x, y (0..1), group and text; a legend; the text of the point under the pointer."""
    data = json.dumps(list(points)).replace("<", "\\u003c")
    return _render("map.html", title=title, data=data, colours=colours)


def _render(template: str, **values: Any) -> str:
    text = (resources.files("dicom_pipeline") / "data" / "templates" / template).read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(text).render(**values)
