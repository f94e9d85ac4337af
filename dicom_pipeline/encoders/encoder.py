"""What an encoder is, and how one is found: by entry point, by folder, by hub id. Loads no torch by itself."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Pixels
from dicom_pipeline.encoders.checkpoint import imported_folder
from dicom_pipeline.errors import ModelNotFoundError

ENTRY_POINTS = "dicom_pipeline.encoders"


class Encoder(Protocol):
    """Turns renderings and texts into vectors of one space.

    name: what it was asked for as. dimension: D. weights: sha256 (hex) of its files. precision: device kind and number
    format, such as "cpu-float32". batch_size: images it runs at once, always in this shape. logit_scale,
    logit_bias: the similarity is sigmoid(exp(logit_scale) * cosine + logit_bias) (Zhai et al. 2023, arXiv:2303.15343).
    notice: what must be said wherever its scores are shown, or "". An encoder may also have `reference_file`: the path where
    statistics of its embeddings lie, by which frames are marked that are out of its domain.

    Safe to call from several threads: the service answers searches while it processes.
    """

    name: str
    dimension: int
    weights: str
    precision: str
    batch_size: int
    logit_scale: float
    logit_bias: float
    notice: str

    def encode_images(self, pixels: npt.NDArray[np.uint8] | Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """uint8 (B, 448, 448, 3) -> float32 (B, D), not normalised."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """N texts -> float32 (N, D), not normalised. Raises PromptTooLongError or NoTextTowerError."""
        ...


def load_encoder(
    model: str = "phantom",
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    batch_size: int | None = None,
) -> Encoder:
    """The encoder called `model`: an entry point's name ("phantom", "vision:FOLDER"), a folder, or a hub id.

    Raises ModelNotFoundError, ModelGatedError or UnsafeWeightsError.
    """
    point, rest = find_encoder(model)
    with _collector_paused():  # a fifth of the time: torch and transformers make a million objects that stay
        load = point.load()
    encoder: Encoder = load(rest, device=device, dtype=dtype, revision=revision, batch_size=batch_size)
    return encoder


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nothing looks for cyclic garbage meanwhile; afterwards it is as it was."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def find_encoder(model: str) -> tuple[EntryPoint, str]:
    """The entry point that loads `model`, and what it is to load; looks at folders, loads nothing and asks no network.

    Raises ModelNotFoundError.
    """
    name, _, rest = model.partition(":")
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in found:
        point = found[name]
    elif Path(model).is_dir():
        point, rest = found[_family(Path(model))], model
    elif (imported_folder() / model / "config.json").is_file():
        folder = imported_folder() / model
        point, rest = found[_family(folder)], str(folder)
    elif model.count("/") == 1 and not model.startswith((".", "/")):
        point, rest = found["siglip"], model
    else:
        names = ", ".join(sorted(found))
        raise ModelNotFoundError(
            f"no encoder {model!r}: expected one of {names}, an imported model (see `dicom-pipeline models`), a folder with "
            "config.json and safetensors, or a hub id such as google/medsiglip-448"
        )
    return point, rest


def _family(folder: Path) -> str:
    """The entry point that loads a checkpoint folder, by the model type in its config.json."""
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "")
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{folder} has no readable config.json, so it is not a checkpoint folder") from error
    return "siglip" if kind.startswith("siglip") else "vision"
