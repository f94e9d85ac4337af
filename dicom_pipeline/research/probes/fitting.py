"""Fit linear probes: one logistic regression a label, patients never on both sides of a split.

For each label: C is chosen by log loss inside each training part (inner folds); the outer folds give every row a
prediction of a model that has not seen its patient; those calibrate (Platt 1999) and measure. What is saved is refitted on
all rows, with standardisation and calibration folded into its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from dicom_pipeline.domain import Level
from dicom_pipeline.errors import FingerprintError, ProbeError
from dicom_pipeline.research.probes import metrics
from dicom_pipeline.research.probes.embeddings import pooled
from dicom_pipeline.research.probes.truth import Truth
from dicom_pipeline.scoring import Probe

FOLDS = 5
INNER_FOLDS = 3
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""C of the logistic regression, on standardised embeddings."""

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Linear:
    """logit = weights . x + bias, on raw embeddings. weights: float64 (D,)."""

    weights: Rows
    bias: float

    def logits(self, vectors: Rows) -> Rows:
        """Embeddings (N, D) -> logits (N,)."""
        return np.asarray(vectors @ self.weights + self.bias)

    def calibrated(self, slope: float, offset: float) -> Linear:
        """The same with slope * logit + offset."""
        return Linear(self.weights * slope, self.bias * slope + offset)


@dataclass(frozen=True, slots=True)
class FittedLabel:
    """One label's model, the out-of-fold probabilities of the rows whose truth is known, and what they measure."""

    label: str
    model: Linear
    truth: Rows
    probabilities: Rows
    groups: npt.NDArray[np.str_]
    card: dict[str, Any]


def fit_label(label: str, vectors: Rows, truth: Rows, groups: npt.NDArray[np.str_], *, seed: int = 0) -> FittedLabel:
    """Fit one label on embeddings (N, D), truth (N,) of 1, 0 or NaN, and the patient of each row.

    Raises ProbeError where fewer than two patients are positive or fewer than two negative.
    """
    known = ~np.isnan(truth)
    x, y, g = np.asarray(vectors[known], np.float64), truth[known], groups[known]
    folds = _folds(y, g)
    if folds < 2:
        raise ProbeError(
            f"label {label!r}: positives in {len(set(g[y == 1]))} and negatives in {len(set(g[y == 0]))} patients; "
            "fitting needs two of each at least"
        )
    logits = np.empty(len(y))
    for train, test in _splits(folds, x, y, g, seed):
        logits[test] = _fit(x[train], y[train], g[train], seed).logits(x[test])
    probabilities = np.empty(len(y))
    for train, test in _splits(folds, x, y, g, seed + 1):
        slope, offset = _platt(logits[train], y[train])
        probabilities[test] = _sigmoid(logits[test] * slope + offset)
    model = _fit(x, y, g, seed).calibrated(*_platt(logits, y))
    low, high = metrics.interval(metrics.auc, y, logits, g, seed=seed)
    card = {
        "rows": len(y),
        "positive": int(y.sum()),
        "patients": len(set(g)),
        "folds": folds,
        "auc": metrics.auc(y, logits),
        "auc_low": low,
        "auc_high": high,
        "average_precision": metrics.average_precision(y, logits),
        "brier": metrics.brier(y, probabilities),
        "expected_calibration_error": metrics.expected_calibration_error(y, probabilities),
    }
    return FittedLabel(label, model, y, probabilities, g, card)


def fit_linear(vectors: Rows, truth: Rows, groups: npt.NDArray[np.str_], *, seed: int = 0) -> Linear:
    """A balanced logistic regression on embeddings (N, D) and truth (N,) of 1 or 0, with the C that inner folds like best.

    Raises ProbeError where fewer than two patients are positive or fewer than two negative.
    """
    if _folds(truth, groups) < 2:
        raise ProbeError("fitting needs two positive and two negative patients at least")
    return _fit(vectors, truth, groups, seed)


def fit_probe(
    table: pa.Table, truth: Truth, *, name: str, level: Level = Level.FRAME, seed: int = 0
) -> tuple[Probe, list[FittedLabel], list[str]]:
    """A probe of all labels of a truth table that can be fitted; the labels; and why others could not be.

    level: what one row is: frame (a series' truth holds for all its frames) or series (the mean of its frames).
    Raises FingerprintError for embeddings of several encoders, ProbeError where no label can be fitted.
    """
    encoders = sorted(set(table.column("weights").to_pylist()))
    if len(encoders) != 1:
        raise FingerprintError(
            f"the embeddings come from {len(encoders)} encoders; a probe fits one: filter them first"
        )
    rows = pooled(table, level)
    keys = truth_keys(table, truth.level, rows.first)
    groups = truth.groups(keys, [table.column("study_instance_uid")[i].as_py() for i in rows.first])
    fitted, refused = [], []
    for label in truth.labels:
        try:
            fitted.append(
                fit_label(label, rows.vectors.astype(np.float64), truth.column(label, keys), groups, seed=seed)
            )
        except ProbeError as error:
            refused.append(str(error))
    if not fitted:
        raise ProbeError("no label can be fitted: " + "; ".join(refused))
    probe = Probe(
        name=name,
        labels=tuple(f.label for f in fitted),
        weights=np.stack([f.model.weights for f in fitted]).astype(np.float32),
        bias=np.array([f.model.bias for f in fitted], np.float32),
        spaces=tuple(sorted(set(table.column("space").to_pylist()))),
        encoder_weights=encoders[0],
        level=level,
        card={"seed": seed, "metrics": {f.label: f.card for f in fitted}},
    )
    return probe, fitted, refused


def truth_keys(table: pa.Table, level: Level, indices: list[int]) -> tuple[tuple[object, ...], ...]:
    """The truth table's keys of some rows of an embedding table."""
    from dicom_pipeline.research.probes.embeddings import KEYS

    columns = [table.column(name).to_pylist() for name in KEYS[level]]
    return tuple(tuple(column[i] for column in columns) for i in indices)


def _folds(y: Rows, groups: npt.NDArray[np.str_], most: int = FOLDS) -> int:
    """As many folds as there are patients of the rarer outcome, at most `most`."""
    return min(most, len(set(groups[y == 1])), len(set(groups[y == 0])))


def _splits(folds: int, x: Rows, y: Rows, groups: npt.NDArray[np.str_], seed: int) -> list[tuple[Any, Any]]:
    """Folds that keep patients together; a fold whose training part has one outcome only is merged away."""
    made = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(x, y, groups)
    return [(train, test) for train, test in made if len(test)]


def _fit(x: Rows, y: Rows, groups: npt.NDArray[np.str_], seed: int) -> Linear:
    """A balanced logistic regression with the C that inner folds like best."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    z = (x - mean) / scale
    folds = _folds(y, groups, INNER_FOLDS)
    best = STRENGTHS[2]
    if folds >= 2:
        losses = {c: _inner_loss(c, z, y, groups, folds, seed) for c in STRENGTHS}
        best = min(losses, key=lambda c: losses[c])
    weights, bias = _regression(best, z, y)
    return Linear(weights / scale, float(bias - (weights * mean / scale).sum()))


def _inner_loss(c: float, z: Rows, y: Rows, groups: npt.NDArray[np.str_], folds: int, seed: int) -> float:
    losses = []
    for train, test in _splits(folds, z, y, groups, seed):
        if len(set(y[train])) == 2:
            weights, bias = _regression(c, z[train], y[train])
            losses.append(log_loss(y[test], _sigmoid(z[test] @ weights + bias), labels=[0, 1]))
    return float(np.mean(losses)) if losses else float("inf")


def _regression(c: float, z: Rows, y: Rows) -> tuple[Rows, float]:
    if len(set(y)) < 2:
        return np.zeros(z.shape[1]), 0.0
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=2000).fit(z, y)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def _platt(logits: Rows, y: Rows) -> tuple[float, float]:
    """slope, offset: the probability is sigmoid(slope * logit + offset); a slope below zero would turn ranks around."""
    if len(set(y)) < 2:
        return 1.0, 0.0
    model = LogisticRegression(C=1e3, max_iter=2000).fit(logits[:, None], y)
    slope = float(model.coef_[0, 0])
    return (slope, float(model.intercept_[0])) if slope > 0 else (1e-6, float(np.log(y.mean() / (1 - y.mean()))))


def _sigmoid(logits: Rows) -> Rows:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
