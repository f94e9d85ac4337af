"""Text embeddings kept on disk by model, number format, libraries and prompt: a restart need not run the text tower again."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicom_pipeline.disk import cache_folder
from dicom_pipeline.domain import digest_of
from dicom_pipeline.encoders.encoder import Encoder

COMPUTING = ("torch", "transformers", "tokenizers", "sentencepiece", "numpy")
"""Libraries whose other version may give other bits; what they computed before is not taken for theirs."""

log = logging.getLogger(__name__)


class CachedTexts:
    """The text side of an encoder, through a folder. A folder that cannot be written is said once and done without.

    Vectors are the same bits with and without the cache: the encoder runs texts in one shape whatever is asked together.
    """

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.logit_scale = encoder.logit_scale
        self.logit_bias = encoder.logit_bias
        self._encoder = encoder
        libraries = digest_of([[name, version(name)] for name in COMPUTING])[:16]
        self._folder = (folder or cache_folder("texts")) / f"{encoder.weights[:32]}-{encoder.precision}-{libraries}"

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """N texts -> float32 (N, D), not normalised. Raises as the encoder does."""
        found = {text: self._read(text) for text in dict.fromkeys(texts)}
        missing = [text for text, vector in found.items() if vector is None]
        if missing:
            for text, vector in zip(missing, self._encoder.encode_texts(missing), strict=True):
                found[text] = vector
                self._write(text, vector)
        rows = [vector for text in texts if (vector := found[text]) is not None]
        return np.stack(rows) if rows else np.zeros((0, self._encoder.dimension), np.float32)

    def _path(self, text: str) -> Path:
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npy"

    def _read(self, text: str) -> npt.NDArray[np.float32] | None:
        try:
            vector = np.load(self._path(text), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None  # not there yet, or cut short: it is computed and written anew
        fits = vector.shape == (self._encoder.dimension,) and vector.dtype == np.float32
        return np.asarray(vector) if fits else None

    def _write(self, text: str, vector: npt.NDArray[np.float32]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".tmp", delete=False) as stream:
                np.save(stream, vector)
            Path(stream.name).replace(self._path(text))
        except OSError as error:
            log.warning("text embeddings are not cached: %s", error.strerror)
