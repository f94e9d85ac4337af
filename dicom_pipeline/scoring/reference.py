"""Reference statistics of a checkpoint's embeddings: which frames lie beyond what the model is known for.

    distance = sqrt((x - mean)' inverse(covariance) (x - mean)),  x the embedding, L2-normalised

The Mahalanobis distance to one Gaussian a preset: Lee et al. 2018 (arXiv:1807.03888), without classes, which zero-shot scores
do not have; on normalised embeddings: Mueller and Hein 2025 (arXiv:2505.18032). The covariance is that of probabilistic
principal component analysis (Tipping and Bishop 1999): the leading axes with their variances, one variance for all others.
So some hundred frames suffice, and a preset takes (axes + 1) x D numbers instead of D x D.

A reference is one file of a checkpoint's folder, reference.safetensors. Tensors `PRESET/mean` (D), `PRESET/axes` (K, D),
`PRESET/variances` (K), all float32; in the metadata, under `reference`, JSON of `format`, `weights` (sha256 of the
checkpoint), `exclusive` and `presets`: preset -> digest, rest (the variance of the other axes), limit, held_out, rows,
studies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dicom_pipeline.domain import Domain, Embedding, FrameDomain, FrameKey
from dicom_pipeline.errors import FingerprintError, ModelError

FORMAT = "dicom_pipeline/reference/1"

CARD = "reference"
"""Name of the file's metadata."""


@dataclass(frozen=True, slots=True)
class PresetReference:
    """What embeddings of one preset are like.

    mean: float32 (D,), axes: float32 (K, D), orthonormal, variances: float32 (K,). rest: variance along every other axis.
    digest: of the preset. limit: 99.9th percentile of the distances of the reference frames. held_out: share of frames beyond
    it where their studies are left out of the fit: what to expect of new images of the kind. rows, studies: how many made it.
    """

    digest: str
    rest: float
    limit: float
    held_out: float
    rows: int
    studies: int
    mean: npt.NDArray[np.float32] = field(compare=False, repr=False)
    axes: npt.NDArray[np.float32] = field(compare=False, repr=False)
    variances: npt.NDArray[np.float32] = field(compare=False, repr=False)

    def distances(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Embeddings (N, D), raw -> distances (N,)."""
        return mahalanobis(vectors, self.mean, self.axes, self.variances, self.rest)


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference of a checkpoint. weights: its sha256. digest: sha256 (hex) of the file.

    exclusive: the model is known to be trained on nothing but these presets' images, so that frames of any other preset are
    out of domain too; otherwise nothing is said of them.
    """

    weights: str
    exclusive: bool
    digest: str
    presets: Mapping[str, PresetReference]

    def judge(
        self, embeddings: Sequence[Embedding], presets: Mapping[str, tuple[str, str]]
    ) -> dict[FrameKey, FrameDomain]:
        """What is said of frames. presets: Series Instance UID -> name and digest of its preset.

        Frames of a preset that has changed since, or that the reference does not have, are absent unless it is exclusive.
        """
        by_preset: dict[tuple[str, str], list[Embedding]] = {}
        for embedding in embeddings:
            by_preset.setdefault(presets[embedding.frame.series_instance_uid], []).append(embedding)
        found: dict[FrameKey, FrameDomain] = {}
        for (name, digest), members in by_preset.items():
            reference = self.presets.get(name)
            if reference is None:
                if self.exclusive:
                    found |= {e.frame.key: FrameDomain(Domain.OUT, None) for e in members}
            elif reference.digest == digest:
                relative = reference.distances(np.stack([e.vector for e in members])) / reference.limit
                for embedding, value in zip(members, relative, strict=True):
                    domain = Domain.IN if value <= 1 else Domain.OUT
                    found[embedding.frame.key] = FrameDomain(domain, float(value))
        return found


def mahalanobis(
    vectors: npt.NDArray[np.float32],
    mean: npt.NDArray[np.float32],
    axes: npt.NDArray[np.float32],
    variances: npt.NDArray[np.float32],
    rest: float,
) -> npt.NDArray[np.float64]:
    """Distances (N,) of embeddings (N, D), raw, to a Gaussian as in `PresetReference`."""
    centred = normalised(vectors) - mean.astype(np.float64)
    along = centred @ axes.T.astype(np.float64)
    beyond = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    return np.asarray(np.sqrt((along**2 / variances.astype(np.float64)).sum(axis=1) + beyond / rest))


def normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Embeddings (N, D) of length 1; a zero vector stays."""
    values = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(norms > 0, norms, 1))


def reference_bytes(weights: str, presets: Mapping[str, PresetReference], *, exclusive: bool) -> bytes:
    """The file of a reference: the same bytes for the same numbers."""
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    described: dict[str, Any] = {}
    for name, preset in sorted(presets.items()):
        values = asdict(preset)
        tensors |= {f"{name}/{part}": np.ascontiguousarray(values.pop(part)) for part in ("mean", "axes", "variances")}
        described[name] = values
    card = {"format": FORMAT, "weights": weights, "exclusive": exclusive, "presets": described}
    return save(tensors, {CARD: json.dumps(card, sort_keys=True)})  # one entry: safetensors writes several in any order


def load_reference(path: Path | None, weights: str) -> Reference | None:
    """The reference in a file; None where there is no file.

    Raises ModelError where it cannot be read, FingerprintError where it is of another checkpoint's embeddings.
    """
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            card: dict[str, Any] = json.loads((file.metadata() or {}).get(CARD, "{}"))
            if card.get("format") != FORMAT:
                raise ModelError(
                    f"{path} is not a reference of format {FORMAT}; make it with `dicom-pipeline models reference`"
                )
            presets = {
                name: PresetReference(
                    **values, **{part: file.get_tensor(f"{name}/{part}") for part in ("mean", "axes", "variances")}
                )
                for name, values in card["presets"].items()
            }
            reference = Reference(
                weights=card["weights"],
                exclusive=bool(card["exclusive"]),
                digest=sha256(path.read_bytes()).hexdigest(),
                presets=presets,
            )
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path} is no readable reference: {type(error).__name__}") from error
    if reference.weights != weights:
        raise FingerprintError(
            f"{path} is of weights {reference.weights[:12]}, and the checkpoint has {weights[:12]}; make it anew with "
            "`dicom-pipeline models reference`"
        )
    return reference
