"""Linear probes: label probabilities from embeddings, fitted on labelled ones (research/probes/fitting.py), applied here.

    probability = 1 / (1 + exp(-(weights . embedding + bias)))

The embedding goes in raw, not normalised; standardisation and calibration are already in weights and bias. A probe is a
folder: probe.toml (what it is, the spaces it fits, how good it was) and probe.safetensors (weights, bias).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dicom_pipeline.domain import (
    PROBE_LEVELS,
    Derivation,
    Embedding,
    FrameKey,
    Label,
    Level,
    Score,
    ScoreKind,
    digest_of,
    level_of,
)
from dicom_pipeline.errors import FingerprintError, ProbeError, UsageError

TENSORS = "probe.safetensors"
CARD = "probe.toml"


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted linear probe of one or more labels.

    weights: float32 (L, D). bias: float32 (L,). spaces: the embedding spaces (weights and preset) that it was fitted on.
    encoder_weights: sha256 of the encoder's files. level: what one row was when it was fitted; a series row is the mean of
    its frames. card: everything else in probe.toml, such as metrics.
    """

    name: str
    labels: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    spaces: tuple[str, ...]
    encoder_weights: str
    level: Level = Level.FRAME
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Sha256 (hex) of what changes a number."""
        numbers = [self.weights.astype("<f4").tobytes().hex(), self.bias.astype("<f4").tobytes().hex()]
        return digest_of([self.labels, numbers, sorted(self.spaces), self.level])

    @property
    def report_labels(self) -> tuple[Label, ...]:
        """Its labels under names of their own, so that they stand beside zero-shot scores of the same finding."""
        return tuple(Label(self.score_name(label), ()) for label in self.labels)

    def score_name(self, label: str) -> str:
        """The name that scores of a label carry."""
        return f"{label} [probe {self.name}]"

    def check_encoder(self, weights: str, encoder: str) -> None:
        """Raise FingerprintError where it was fitted on another encoder's embeddings."""
        if weights != self.encoder_weights:
            raise FingerprintError(
                f"probe {self.name} was fitted on embeddings of weights {self.encoder_weights[:12]}, and {encoder} has "
                f"{weights[:12]}; fit it again on this encoder's embeddings"
            )

    def probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Embeddings (N, D), raw -> probabilities (N, L)."""
        logits = np.asarray(vectors, np.float64) @ self.weights.T.astype(np.float64) + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))

    def score(self, embeddings: Sequence[Embedding], spaces: Mapping[str, str]) -> list[Score]:
        """Scores of the series that it fits: of frames, or (fitted on series) of each series.

        spaces: Series Instance UID -> embedding space; a series of another space is not scored.
        """
        mine = [e for e in embeddings if spaces.get(e.frame.series_instance_uid) in self.spaces]
        if not mine:
            return []
        values = self.probabilities(np.stack([e.vector for e in mine]))
        if self.level is Level.FRAME:
            return [
                self._score(label, value, e.frame.series_instance_uid, e.frame.key)
                for e, row in zip(mine, values, strict=True)
                for label, value in zip(self.labels, row, strict=True)
            ]
        scores = []
        for series in dict.fromkeys(e.frame.series_instance_uid for e in mine):
            at = [i for i, e in enumerate(mine) if e.frame.series_instance_uid == series]
            pooled = np.stack([mine[i].vector for i in at]).mean(axis=0, dtype=np.float64).astype(np.float32)
            aggregated = self.probabilities(pooled[None])[0]
            for column, label in enumerate(self.labels):
                best = max(at, key=lambda i: values[i, column])
                scores.append(self._score(label, aggregated[column], series, mine[best].frame.key, Derivation.MEAN))
        return scores

    def _score(
        self, label: str, value: float, series: str, frame: FrameKey, derivation: Derivation | None = None
    ) -> Score:
        return Score(self.score_name(label), float(value), ScoreKind.PROBE_PROBABILITY, series, frame, derivation)


def load_probe(folder: Path | str) -> Probe:
    """A probe from its folder. Raises ProbeError that says what is missing or wrong."""
    folder = Path(folder)
    try:
        card = tomllib.loads((folder / CARD).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        probe = Probe(
            name=str(card["name"]),
            labels=tuple(card["labels"]),
            weights=tensors["weights"],
            bias=tensors["bias"],
            spaces=tuple(card["spaces"]),
            encoder_weights=str(card["encoder_weights"]),
            level=level_of(str(card["level"]), PROBE_LEVELS),
            card=card,
        )
    except (OSError, KeyError, UsageError, tomllib.TOMLDecodeError, SafetensorError) as error:
        raise ProbeError(
            f"{folder} holds no readable probe ({CARD}, {TENSORS}): {type(error).__name__} {error}"
        ) from error
    shape = (len(probe.labels), probe.weights.shape[-1])
    if probe.weights.shape != shape or probe.bias.shape != shape[:1]:
        raise ProbeError(
            f"{folder}: weights {probe.weights.shape} and bias {probe.bias.shape} do not fit {shape[0]} labels"
        )
    return probe
