"""Reference statistics of a model from an embedding store: what its embeddings are like, preset by preset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import embedding_space
from dicom_pipeline.errors import PresetError, UsageError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.store.rows import vectors_of
from dicom_pipeline.scoring.reference import PresetReference, mahalanobis, normalised

MAX_AXES = 64
"""Principal axes that are kept. Measured with the shipped model: with 24 some CT and MR of patients lie within the limit (0.82
and 0.87 of it), with 64 none of four folders does, at the price of more new drawings beyond it."""

ROWS_AN_AXIS = 22
"""Rows that an axis takes at least: 64 axes of 600 radiographs left 6 % of new ones out, 27 leave 1 to 2 %."""

MIN_ROWS, MIN_STUDIES = 200, 20
"""With fewer there is no tail to speak of."""

FOLDS = 5
QUANTILE = 0.999

Gaussian = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], float]
"""Mean (D,), axes (K, D), variances (K,), variance along every other axis."""


def references_of(
    store: EmbeddingStore, weights: str, where: str | None = None
) -> tuple[dict[str, PresetReference], dict[str, str]]:
    """The references of each preset with enough rows, and preset -> why it has none. where: which rows.

    Rows that were rendered by another version of a preset do not count. Raises UsageError where no preset has enough.
    """
    rows = store.rows(where, ["embedding", "preset", "space", "study_instance_uid"])
    names = np.array(rows["preset"].to_pylist(), object)
    spaces = np.array(rows["space"].to_pylist(), object)
    studies = np.array(rows["study_instance_uid"].to_pylist(), object)
    vectors = vectors_of(rows)
    made: dict[str, PresetReference] = {}
    without: dict[str, str] = {}
    for name in sorted(set(names)):
        try:
            digest = load_preset(name).digest
        except PresetError:
            without[name] = "this version has no such preset"
            continue
        chosen = (names == name) & (spaces == embedding_space(weights, digest))
        count, groups = int(chosen.sum()), len(set(studies[chosen]))
        if count < MIN_ROWS or groups < MIN_STUDIES:
            without[name] = f"{count} rows of {groups} studies; {MIN_ROWS} rows of {MIN_STUDIES} studies are needed"
        else:
            made[name] = fit_reference(vectors[chosen], list(studies[chosen]), digest)
    if not made:
        why = "; ".join(f"{name}: {text}" for name, text in without.items()) or "it has no rows"
        raise UsageError(f"{store.place} gives no reference: {why}")
    return made, without


def fit_reference(vectors: npt.NDArray[np.float32], studies: Sequence[str], digest: str) -> PresetReference:
    """The reference of embeddings (N, D), raw. studies: of which study each is; digest: of the preset.

    A frame is always nearer to a Gaussian that it helped to make, and the slices of one study are alike: so the share beyond
    the limit is measured again with Gaussians that were fitted without a frame's study.
    """
    mean, axes, variances, rest = _gaussian(vectors)
    order = {study: index for index, study in enumerate(sorted(set(studies)))}
    folds = np.array([order[study] % FOLDS for study in studies])
    held_out = np.empty(len(vectors))
    for fold in range(FOLDS):
        held_out[folds == fold] = mahalanobis(vectors[folds == fold], *_gaussian(vectors[folds != fold]))
    own = mahalanobis(vectors, mean, axes, variances, rest)
    limit = float(np.quantile(own, QUANTILE, method="higher"))
    beyond = float((held_out > limit).mean())
    return PresetReference(digest, rest, limit, beyond, len(vectors), len(order), mean, axes, variances)


def _gaussian(vectors: npt.NDArray[np.float32]) -> Gaussian:
    """Of normalised embeddings: probabilistic principal component analysis by maximum likelihood (Tipping and Bishop 1999)."""
    values = normalised(vectors)
    mean = values.mean(axis=0)
    _, singular, axes = np.linalg.svd(values - mean, full_matrices=False)
    variances = singular**2 / len(values)
    count = min(MAX_AXES, len(values) // ROWS_AN_AXIS, len(variances) - 1)
    rest = variances[count:].sum() / (values.shape[1] - count)
    floor = float(np.finfo(np.float32).eps) ** 2  # rows that are all alike have no variance to divide by
    rest = max(float(rest), floor)
    return (
        mean.astype(np.float32),
        axes[:count].astype(np.float32),
        np.maximum(variances[:count], rest).astype(np.float32),
        rest,
    )
