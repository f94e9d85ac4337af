"""Frames of a series, or series of a study, as one vector. Nothing is learnt and nothing attends: mean, max, top-k.

Each vector is normalised to length 1 first, so that no frame counts more for its length; what comes out is not. A study
pools its series' pooled vectors, each series counting once, however many frames it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dicom_pipeline.errors import UsageError

Vectors = npt.NDArray[np.float32]
"""float32 array of shape (N, D)."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """A way to pool. k: of top-k, how many of the largest values of each dimension are averaged."""

    name: Literal["mean", "max", "top-k"]
    k: int = 3

    @property
    def sentence(self) -> str:
        """What is done, for the manifest."""
        how = {
            "mean": "the mean of the vectors",
            "max": "in each dimension the largest value",
            "top-k": f"in each dimension the mean of the {self.k} largest values (of all where there are fewer)",
        }[self.name]
        return f"Each vector was normalised to length 1, then: {how}. The result is not normalised."

    def pool(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """float32 (N, D), N >= 1 -> float32 (D,)."""
        unit = normalised(vectors)
        if self.name == "mean":
            return unit.mean(axis=0, dtype=np.float64).astype(np.float32)
        k = 1 if self.name == "max" else min(self.k, len(unit))
        largest = np.partition(unit, len(unit) - k, axis=0)[len(unit) - k :]
        return largest.mean(axis=0, dtype=np.float64).astype(np.float32)


def parse_pooling(text: str) -> Pooling:
    """Mean, max, top-k or top-k:N. Raises UsageError."""
    if text in ("mean", "max"):
        return Pooling("mean" if text == "mean" else "max")
    match = re.fullmatch(r"top-k(?::([1-9]\d{0,3}))?", text)
    if match is None:
        raise UsageError(f"no pooling {text!r}: expected mean, max, top-k or top-k:N")
    return Pooling("top-k", int(match[1] or 3))


def normalised(vectors: Vectors) -> Vectors:
    """float32 (N, D) with every row of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, np.float32)
