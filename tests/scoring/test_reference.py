"""Reference statistics of embeddings: the distance, its limit, the file, and what is said of frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_pipeline.domain import Domain, Embedding, Frame, FrameDomain, FrameKey
from dicom_pipeline.errors import FingerprintError, ModelError
from dicom_pipeline.research.reference_fitting import ROWS_AN_AXIS, fit_reference
from dicom_pipeline.scoring import load_reference
from dicom_pipeline.scoring.reference import normalised, reference_bytes

DIMENSION = 48
WEIGHTS = "ab" * 32


def embeddings(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Vectors round one direction, with unequal spread; their lengths vary."""
    rng = np.random.default_rng(seed)
    spread = 0.3 / np.arange(1, DIMENSION + 1)
    vectors = np.eye(DIMENSION)[0] * 3 + rng.normal(size=(count, DIMENSION)) * spread
    vectors[:, -1] += shift
    return (vectors * rng.uniform(0.5, 2, (count, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return fit_reference(embeddings(4000, 1), [str(i // 20) for i in range(4000)], "digest")


@pytest.fixture
def file(fitted, tmp_path) -> Path:
    path = tmp_path / "reference.safetensors"
    path.write_bytes(reference_bytes(WEIGHTS, {"xray": fitted}, exclusive=False))
    return path


def test_the_distance_is_that_of_the_covariance_written_out(fitted):
    vectors = embeddings(7, 2)
    axes = fitted.axes.astype(np.float64)
    covariance = fitted.rest * np.eye(DIMENSION) + axes.T @ np.diag(fitted.variances - fitted.rest) @ axes
    centred = normalised(vectors) - fitted.mean
    expected = np.sqrt(np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred))
    np.testing.assert_allclose(fitted.distances(vectors), expected, rtol=1e-3)


def test_the_length_of_an_embedding_does_not_matter(fitted):
    vectors = embeddings(5, 2)
    np.testing.assert_allclose(fitted.distances(vectors * np.float32(7)), fitted.distances(vectors), rtol=1e-5)


def test_one_in_a_thousand_of_the_same_kind_is_beyond_the_limit_and_all_of_another(fitted):
    share = (fitted.distances(embeddings(40_000, 3)) > fitted.limit).mean()
    assert 0.0002 < share < 0.004
    assert (fitted.distances(embeddings(500, 4, shift=1.0)) > fitted.limit).all()


def test_the_share_beyond_the_limit_is_measured_on_rows_that_were_held_out():
    """With few rows more than dimensions, rows that were fitted lie nearer than new ones."""
    few = embeddings(100, 5)
    made = fit_reference(few, [str(i) for i in range(100)], "digest")
    assert made.limit == made.distances(few).max()
    new = (made.distances(embeddings(5000, 6)) > made.limit).mean()
    assert made.held_out == pytest.approx(new, abs=0.12)
    assert made.held_out > 0.001
    assert made.axes.shape == (100 // ROWS_AN_AXIS, DIMENSION)


def test_rows_that_are_all_alike_are_no_division_by_zero():
    made = fit_reference(np.ones((50, 8), np.float32), [str(i) for i in range(50)], "digest")
    assert np.isfinite(made.distances(embeddings(3, 1)[:, :8])).all()


def test_the_file_gives_the_same_back_and_has_the_same_bytes(file, fitted):
    found = load_reference(file, WEIGHTS)
    assert found.presets["xray"] == fitted
    assert (found.presets["xray"].axes == fitted.axes).all()
    assert (found.weights, found.exclusive) == (WEIGHTS, False)
    assert file.read_bytes() == reference_bytes(WEIGHTS, {"xray": fitted}, exclusive=False)
    assert load_reference(file.parent / "none", WEIGHTS) is None
    assert load_reference(None, WEIGHTS) is None


def test_a_reference_of_other_weights_or_a_damaged_one_is_refused(file):
    with pytest.raises(FingerprintError, match="models reference"):
        load_reference(file, "cd" * 32)
    content = file.read_bytes()
    for damaged in (
        content[:40],
        content[:-5],
        content.replace(b"reference/1", b"reference/9"),
        b"",
        content.replace(b"rest", b"rust"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ModelError, match="reference"):
            load_reference(file, WEIGHTS)


def judged(reference, preset, digest, vector):
    frame = Frame(FrameKey("1"), Path("x"), "s")
    return reference.judge([Embedding(frame, vector)], {"s": (preset, digest)}).get(frame.key)


def test_what_is_said_of_a_frame(file, fitted):
    reference = load_reference(file, WEIGHTS)
    near, far = embeddings(1, 8)[0], embeddings(1, 8, shift=2.0)[0]
    assert judged(reference, "xray", "digest", near).domain is Domain.IN
    beyond = judged(reference, "xray", "digest", far)
    assert beyond.domain is Domain.OUT
    assert beyond.distance == pytest.approx(fitted.distances(far[None])[0] / fitted.limit)
    assert judged(reference, "xray", "another version", far) is None
    assert judged(reference, "colour", "digest", near) is None
    exclusive = replace(reference, exclusive=True)
    assert judged(exclusive, "colour", "digest", near) == FrameDomain(Domain.OUT, None)
    assert judged(exclusive, "xray", "another version", far) is None
