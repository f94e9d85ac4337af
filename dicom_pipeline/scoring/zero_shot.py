"""Zero-shot scores, with SigLIP's own mathematics.

    cosine  = image . text, both L2-normalised
    sigmoid = 1 / (1 + exp(-(exp(logit_scale) * cosine + logit_bias)))            each label alone
    pair    = softmax over the logits of a positive and a negative prompt          the model card's protocol

Source: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training (arXiv:2303.15343); MedSigLIP model card. Several
prompts of one side are an ensemble: their normalised vectors are averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Embedding, LabelSet, Score, ScoreKind


class TextEncoder(Protocol):
    """The part of an encoder that zero-shot scoring needs."""

    logit_scale: float
    logit_bias: float

    def encode_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """N texts -> float32 (N, D)."""
        ...


class ZeroShot:
    """The prompts of a label set, embedded once, ready to score embeddings.

    Raises NoTextTowerError for an image-only encoder, PromptTooLongError for a prompt that does not fit.
    """

    def __init__(self, encoder: TextEncoder, label_set: LabelSet) -> None:
        self.label_set = label_set
        self._scale = np.float64(np.exp(encoder.logit_scale))
        self._bias = np.float64(encoder.logit_bias)
        self._positive = np.stack([_ensemble(encoder.encode_texts(label.positive)) for label in label_set.labels])
        if label_set.kind is ScoreKind.ZERO_SHOT_PAIR:
            self._negative = np.stack([_ensemble(encoder.encode_texts(label.negative)) for label in label_set.labels])

    def matrix(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Embeddings (N, D) -> scores (N, labels) in 0..1."""
        images = _unit(np.asarray(vectors, np.float64))
        positive = images @ self._positive.T * self._scale + self._bias
        if self.label_set.kind is ScoreKind.ZERO_SHOT_PAIR:
            positive = positive - (images @ self._negative.T * self._scale + self._bias)
        return 1 / (1 + np.exp(-np.clip(positive, -700, 700)))

    def score(self, embeddings: Sequence[Embedding], modalities: Mapping[str, str] | None = None) -> list[Score]:
        """Frame scores, all labels of one frame together.

        modalities: Series Instance UID -> modality; labels made for other modalities are left out of such a series.
        """
        if not embeddings:
            return []
        values = self.matrix(np.stack([embedding.vector for embedding in embeddings]))
        scores = []
        for embedding, row in zip(embeddings, values, strict=True):
            series = embedding.frame.series_instance_uid
            modality = (modalities or {}).get(series)
            for label, value in zip(self.label_set.labels, row, strict=True):
                if not label.modalities or modality is None or modality in label.modalities:
                    scores.append(Score(label.name, float(value), self.label_set.kind, series, embedding.frame.key))
        return scores


def _ensemble(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return _unit(_unit(np.asarray(vectors, np.float64)).mean(axis=0))


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)
