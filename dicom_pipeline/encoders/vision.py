"""An image-only Hugging Face vision model (ViT, DINOv2 ...) as an encoder: embeddings and probes, no zero-shot.

Asked for as `vision:FOLDER_OR_HUB_ID`. It shows that an encoder can come from anywhere: this file is all that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel

from dicom_pipeline.domain import IMAGE_SIZE, Pixels
from dicom_pipeline.encoders.batches import run_in_one_shape
from dicom_pipeline.encoders.checkpoint import checkpoint_folder, notice_of, reference_file, weights_digest
from dicom_pipeline.encoders.device import choose_batch, choose_precision
from dicom_pipeline.errors import NoTextTowerError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VisionEncoder:
    """The class-token vector of a vision transformer, of the rendering scaled to the model's size."""

    logit_scale = 0.0
    logit_bias = 0.0

    def __init__(
        self, folder: Path, *, name: str, device: str = "auto", dtype: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = name
        self._device, self._dtype = choose_precision(device, dtype)
        self.precision = f"{self._device.type}-{str(self._dtype).removeprefix('torch.')}"
        model = AutoModel.from_pretrained(folder, dtype=self._dtype, use_safetensors=True, local_files_only=True)
        self._model: Any = model.eval().to(self._device)
        self._size = int(getattr(model.config, "image_size", 224))
        self.dimension = int(model.config.hidden_size)
        self.weights = weights_digest(folder)
        self.notice = notice_of(folder)
        self.reference_file = reference_file(folder)
        blank = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self.batch_size = choose_batch(self._device, batch_size, lambda n: self._encode(np.repeat(blank, n, 0)))

    def encode_images(self, pixels: npt.NDArray[np.uint8] | Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """uint8 (B, 448, 448, 3) -> float32 (B, D), not normalised."""
        batch = np.asarray(pixels)
        if not len(batch):
            return np.zeros((0, self.dimension), np.float32)
        return run_in_one_shape(self._encode, batch, self.batch_size)

    def _encode(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One pass of the model."""
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).permute(0, 3, 1, 2).float() / 255
            size = (self._size, self._size)
            values = torch.nn.functional.interpolate(values, size, mode="bilinear", antialias=True)
            mean, std = (torch.tensor(v, device=self._device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
            states = self._model(pixel_values=((values - mean) / std).to(self._dtype)).last_hidden_state
            return np.asarray(states[:, 0].float().cpu().numpy())

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Always raises NoTextTowerError."""
        del texts
        raise NoTextTowerError(
            f"{self.name} embeds images only, so it gives no zero-shot scores; use a SigLIP model, or a fitted probe"
        )


def load(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    batch_size: int | None = None,
) -> VisionEncoder:
    """The entry point `vision`."""
    folder = checkpoint_folder(model, revision)
    return VisionEncoder(folder, name=f"vision:{model}", device=device, dtype=dtype, batch_size=batch_size)
