"""Measurements equal scikit-learn's; intervals draw patients, not rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dicom_pipeline.research.probes import metrics


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=60))
def test_auc_equals_scikit_learn_with_ties(rows):
    truth = np.array([float(t) for t, _ in rows])
    scores = np.array([float(s) for _, s in rows])
    ours = metrics.auc(truth, scores)
    if 0 < truth.sum() < len(truth):
        assert ours == pytest.approx(roc_auc_score(truth, scores))
    else:
        assert np.isnan(ours)


def test_calibration_error_is_zero_for_honest_probabilities_and_large_for_boasting():
    rng = np.random.default_rng(0)
    probabilities = rng.random(20000)
    truth = (rng.random(20000) < probabilities).astype(float)
    assert metrics.expected_calibration_error(truth, probabilities) < 0.02
    assert metrics.expected_calibration_error(truth, np.where(probabilities > 0.5, 0.99, 0.01)) > 0.2


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(60):
        truth = (rng.random(120) < 0.4).astype(float)
        scores = rng.normal(truth, 1.0)
        low, high = metrics.interval(metrics.auc, truth, scores, np.arange(120).astype(str), repeats=200, seed=trial)
        covered += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 50 <= covered <= 60


def test_rows_of_one_patient_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    truth = (rng.random(40) < 0.5).astype(float)
    scores = rng.normal(truth, 1.0)
    alone = metrics.interval(metrics.auc, truth, scores, np.arange(40).astype(str), repeats=400)
    many = np.repeat(truth, 20), np.repeat(scores, 20), np.repeat(np.arange(40), 20).astype(str)
    together = metrics.interval(metrics.auc, *many, repeats=400)
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=0.25)
