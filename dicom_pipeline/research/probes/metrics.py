"""How good scores are: AUC, average precision, Brier score, calibration error, with bootstrap intervals over patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, brier_score_loss

Metric = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], float]

BINS = 10


def auc(truth: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve, ties half; NaN where all are positive or none is.

    By ranks (Hanley & McNeil 1982), as the bootstrap asks thousands of times; equal to scikit-learn's.
    """
    positive = float(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(truth: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    """Average precision; NaN without a positive."""
    return float(average_precision_score(truth, scores)) if truth.sum() > 0 else float("nan")


def brier(truth: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64]) -> float:
    """Mean squared distance of probability and truth."""
    return float(brier_score_loss(truth, probabilities, pos_label=1)) if len(truth) else float("nan")


def expected_calibration_error(truth: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64]) -> float:
    """Mean distance of mean probability and share of positives over ten equal bins, weighted by their size.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning.
    """
    return sum(weight * abs(mean - share) for mean, share, weight in reliability(truth, probabilities))


def reliability(
    truth: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64]
) -> list[tuple[float, float, float]]:
    """For each bin that is not empty: mean probability, share of positives, share of all rows."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return [
        (float(probabilities[at].mean()), float(truth[at].mean()), float(at.mean()))
        for at in (bins == number for number in range(BINS))
        if at.any()
    ]


def interval(
    metric: Metric,
    truth: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval; whole patients (groups) are drawn, as rows of one patient are not independent.

    NaN where fewer than half of the draws have both outcomes.
    """
    generator = np.random.default_rng(seed)
    names, inverse = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(inverse == number) for number in range(len(names))]
    values = []
    for _ in range(repeats):
        at = np.concatenate([members[i] for i in generator.integers(0, len(names), len(names))])
        values.append(metric(truth[at], scores[at]))
    known = np.array([value for value in values if not np.isnan(value)])
    if len(known) < repeats / 2:
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
