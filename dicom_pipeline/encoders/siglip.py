"""SigLIP (1) through transformers: MedSigLIP, any hub id or folder of that family.

Values go in as MedSigLIP's processor makes them: uint8 / 255, minus 0.5, over 0.5. Texts are padded to the text tower's
length (64), as in training; without that, scores are far off.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer, SiglipModel
from transformers.utils import logging as transformers_logging

from dicom_pipeline.domain import IMAGE_SIZE, Pixels
from dicom_pipeline.encoders.batches import run_in_one_shape
from dicom_pipeline.encoders.checkpoint import (
    check_loaded,
    checkpoint_folder,
    notice_of,
    reference_file,
    weights_digest,
)
from dicom_pipeline.encoders.device import choose_batch, choose_precision
from dicom_pipeline.errors import ModelError, PromptTooLongError

TEXT_BATCH = 16


class SiglipEncoder:
    """A resident SigLIP. Threads that call it take turns, pass by pass."""

    def __init__(
        self, folder: Path, *, name: str, device: str = "auto", dtype: str = "auto", batch_size: int | None = None
    ) -> None:
        self.name = name
        self._device, self._dtype = choose_precision(device, dtype)
        self.precision = f"{self._device.type}-{str(self._dtype).removeprefix('torch.')}"
        _hush_transformers()
        loaded: Any = SiglipModel.from_pretrained(
            folder,
            dtype=self._dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            attn_implementation="sdpa",
        )
        model, info = loaded
        check_loaded(set(info["missing_keys"]), name)
        size = model.config.vision_config.image_size
        if size != IMAGE_SIZE:
            raise ModelError(f"{name} takes {size} px images; renderings are {IMAGE_SIZE} px")
        self._turn = threading.Lock()
        self._model: Any = model.eval().to(self._device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._text_length = int(model.config.text_config.max_position_embeddings)
        self.dimension = int(model.config.vision_config.hidden_size)
        self.logit_scale = float(model.logit_scale.detach())
        self.logit_bias = float(model.logit_bias.detach())
        self.weights = weights_digest(folder)
        self.notice = notice_of(folder)
        self.reference_file = reference_file(folder)
        blank = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self.batch_size = choose_batch(self._device, batch_size, lambda n: self._encode(np.repeat(blank, n, 0)))

    def encode_images(self, pixels: npt.NDArray[np.uint8] | Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """uint8 (B, 448, 448, 3) -> float32 (B, D), not normalised."""
        batch = np.asarray(pixels)
        if batch.dtype != np.uint8 or batch.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"expected uint8 (B, {IMAGE_SIZE}, {IMAGE_SIZE}, 3), found {batch.dtype} {batch.shape}")
        if not len(batch):
            return np.zeros((0, self.dimension), np.float32)
        return run_in_one_shape(self._encode, batch, self.batch_size)

    def _encode(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One pass of the image tower."""
        with self._turn, torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).permute(0, 3, 1, 2)
            values = ((values.to(torch.float32) / 255 - 0.5) / 0.5).to(self._dtype)
            return _vectors(self._model.get_image_features(pixel_values=values.contiguous()))

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """N texts -> float32 (N, D), not normalised. Raises PromptTooLongError rather than cut a prompt."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        ids = np.array([self._tokens(text) for text in texts])
        return run_in_one_shape(self._encode_ids, ids, TEXT_BATCH)

    def _encode_ids(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One pass of the text tower over token ids (B, length)."""
        with self._turn, torch.inference_mode():
            return _vectors(self._model.get_text_features(input_ids=torch.from_numpy(ids).to(self._device)))

    def _tokens(self, text: str) -> list[int]:
        with self._turn:
            ids: list[int] = self._tokenizer(text, padding="max_length", max_length=self._text_length)["input_ids"]
        if len(ids) > self._text_length:
            raise PromptTooLongError(
                f"a prompt has {len(ids)} tokens and the text tower reads {self._text_length}; shorten: {text[:60]!r} ..."
            )
        return ids


def load(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    batch_size: int | None = None,
) -> SiglipEncoder:
    """The entry point `siglip`: a hub id or a folder."""
    folder = checkpoint_folder(model, revision)
    return SiglipEncoder(folder, name=model, device=device, dtype=dtype, batch_size=batch_size)


def _hush_transformers() -> None:
    """Bars and remarks on default token ids are noise in a service log; what is wrong with a checkpoint raises."""
    library: Any = transformers_logging
    library.disable_progress_bar()
    library.set_verbosity_error()


def _vectors(output: Any) -> npt.NDArray[np.float32]:
    """float32 array of what a tower gives: transformers 5 wraps the pooled vector in an output object."""
    tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return np.asarray(tensor.float().cpu().numpy())
