"""Zero-shot scores, with SigLIP's own mathematics.

    cosine  = image . text, both L2-normalised
    sigmoid = 1 / (1 + exp(-(exp(logit_scale) * cosine + logit_bias)))            each label alone
    pair    = softmax over the logits of a positive and a negative prompt          the model card's protocol

Source: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training (arXiv:2303.15343); MedSigLIP model card. Several
prompts of one side are an ensemble: their normalised vectors are averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Embedding, ImageTraits, LabelSet, Score, ScoreKind
from dicom_pipeline.scoring.applicability import labels_for


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

    def score(self, embeddings: Sequence[Embedding]) -> list[Score]:
        """Frame scores of the labels that apply to each frame's image, all labels of one frame together."""
        if not embeddings:
            return []
        values = self.matrix(np.stack([embedding.vector for embedding in embeddings]))
        applying: dict[ImageTraits | None, frozenset[str]] = {}
        scores = []
        for embedding, row in zip(embeddings, values, strict=True):
            frame = embedding.frame
            if frame.traits not in applying:
                applying[frame.traits] = frozenset(x.name for x in labels_for(self.label_set, frame.traits))
            for label, value in zip(self.label_set.labels, row, strict=True):
                if label.name in applying[frame.traits]:
                    score = Score(label.name, float(value), self.label_set.kind, frame.series_instance_uid, frame.key)
                    scores.append(score)
        return scores


def _ensemble(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return _unit(_unit(np.asarray(vectors, np.float64)).mean(axis=0))


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)
