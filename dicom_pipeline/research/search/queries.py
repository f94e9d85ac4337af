"""What is searched for, as a vector: a row of the store, or a text, picture or DICOM file through the rows' encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dicom_pipeline.domain import IMAGE_SIZE, InstanceError, Level, Pixels
from dicom_pipeline.encoders import Encoder, load_encoder
from dicom_pipeline.errors import FingerprintError, UsageError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.pipeline.renderers import Renderers
from dicom_pipeline.planning import default_rules, plan_study, read_header
from dicom_pipeline.research.store.lance import lance_errors
from dicom_pipeline.research.store.rows import vectors_of
from dicom_pipeline.research.store.where import Condition, parse_where, quoted


def encoder_of(name: str, weights: str, *, device: str = "auto") -> Encoder:
    """The encoder that rows were made with. Raises FingerprintError where its weights are others now, or ModelError."""
    encoder = load_encoder(name, device=device)
    if encoder.weights != weights:
        raise FingerprintError(
            f"the rows were made by {name} with weights {weights[:12]}, but {name} has weights {encoder.weights[:12]} now: "
            "embed the studies again, or search with the model that made them"
        )
    return encoder


def vector_of_file(path: Path, encoder: Encoder) -> npt.NDArray[np.float32]:
    """float32 (D,) of a PNG or JPEG picture, or of the middle frame of a DICOM file. Raises UsageError."""
    pixels = _picture(path)
    if pixels is None:
        pixels = _dicom(path)
    return encoder.encode_images(pixels[None])[0]


def row_query(
    table: Any, name: str, condition: Condition | None, level: Level
) -> tuple[npt.NDArray[np.float32], Condition]:
    """The vector (D,) of the row UID[#frame], and a condition that leaves it (or its series, its study) out."""
    uid, _, frame = name.partition("#")
    if frame and not frame.isdecimal():
        raise UsageError(f"{name} is neither a file nor UID#frame")
    wanted = parse_where(f"sop_instance_uid = {quoted(uid)}" + (f" AND frame = {frame}" if frame else ""), table.schema)
    with lance_errors("read the store"):
        found = table.search().where(wanted.sql).limit(None).to_arrow().sort_by("frame")
    if not found.num_rows:
        raise UsageError(f"{name} is neither a file nor the SOP Instance UID of a row (UID or UID#frame)")
    row = found.slice(0, 1)
    key = {"frame": "sop_instance_uid", "series": "series_instance_uid", "study": "study_instance_uid"}[level]
    others = f"{key} != {quoted(row[key][0].as_py())}"
    if level == "frame":
        others += f" OR frame != {row['frame'][0].as_py()}"
    rest = parse_where(others, table.schema)
    if condition is not None:
        rest = Condition((*condition.bracketed, "AND", *rest.bracketed), condition.columns | rest.columns)
    return vectors_of(row)[0], rest


def _picture(path: Path) -> Pixels | None:
    """A picture padded to a square; None where the file is none."""
    try:
        with Image.open(path) as image:
            if image.format not in ("PNG", "JPEG", "BMP", "WEBP", "TIFF"):
                return None
            padded = ImageOps.pad(image.convert("RGB"), (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
            return np.asarray(padded)
    except UnidentifiedImageError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or type(error).__name__}") from error


def _dicom(path: Path) -> Pixels:
    try:
        header = read_header(path)
        plan = plan_study([header], default_rules(), selection="middle:1")
        for series in plan.series:
            if series.frames:
                with Renderers(1) as renderers:
                    frames = renderers.series(load_preset(series.preset), series.reference_frames)
                    return frames.render(series.frames[len(series.frames) // 2]).pixels
    except InstanceError as error:
        raise UsageError(f"{path} is neither a picture nor a DICOM image that can be used: {error}") from error
    reasons = sorted({item.reason.sentence for item in plan.all_excluded})
    raise UsageError(f"{path} has no frame to search with: it {'; it '.join(reasons) or 'holds no image'}")
