"""Probes: fitted, refused, calibrated, saved, read, applied, and refused on another encoder's embeddings."""

import numpy as np
import pyarrow as pa
import pytest

from dicom_pipeline.domain import Embedding, Frame, FrameKey, Level, ScoreKind
from dicom_pipeline.errors import FingerprintError, ProbeError, UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.probes import fitting
from dicom_pipeline.research.probes.embeddings import pooled, read_embeddings, vectors_of
from dicom_pipeline.research.probes.fitting import fit_label, fit_probe
from dicom_pipeline.research.probes.probe_files import save_probe
from dicom_pipeline.research.probes.truth import read_truth
from dicom_pipeline.scoring import load_probe
from tests.research.made import made_rows


def cohort(patients=60, slices=3, dimension=12, seed=0, strength=1.5, weights="w1"):
    """Embeddings of patients, a third positive in label A; B is noise; a truth table by series."""
    rng = np.random.default_rng(seed)
    positive = rng.random(patients) < 0.4
    direction = rng.normal(size=dimension)
    direction /= np.linalg.norm(direction)
    rows, vectors = [], []
    for number in range(patients):
        for index in range(slices):
            vectors.append(rng.normal(size=dimension) * 3 + 50 + strength * 3 * positive[number] * direction)
            rows.append((f"1.{number}.{index}", f"2.{number}", f"3.{number}"))
    columns = dict(
        zip(("sop_instance_uid", "series_instance_uid", "study_instance_uid"), zip(*rows, strict=True), strict=True)
    )
    flat = pa.array(np.array(vectors, np.float32).ravel())
    table = pa.table(
        {
            **{k: list(v) for k, v in columns.items()},
            "frame": [1] * len(rows),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, dimension),
            "weights": [weights] * len(rows),
            "space": ["s1"] * len(rows),
        }
    )
    lines = ["series_instance_uid,patient,A,B"]
    lines += [f"2.{n},p{n // 2},{int(positive[n])},{int(rng.random() < 0.5)}" for n in range(patients)]
    return table, "\n".join(lines)


@pytest.fixture
def fitted(tmp_path):
    table, text = cohort()
    (tmp_path / "labels.csv").write_text(text)
    return table, read_truth(tmp_path / "labels.csv")


def test_a_probe_finds_what_is_there_and_not_what_is_not(fitted):
    probe, labels, refused = fit_probe(*fitted, name="p", level=Level.SERIES)
    cards = probe.card["metrics"]
    assert cards["A"]["auc"] > 0.85
    assert 0.2 < cards["B"]["auc"] < 0.8
    assert cards["A"]["auc_low"] < cards["A"]["auc"] <= cards["A"]["auc_high"]
    assert cards["A"]["patients"] == 30
    assert refused == []
    assert labels[0].probabilities.min() >= 0


def test_no_patient_is_on_both_sides_of_any_split(fitted, monkeypatch):
    seen = []
    real = fitting._splits

    def watched(folds, x, y, groups, seed):
        made = real(folds, x, y, groups, seed)
        seen.extend((set(groups[train]), set(groups[test])) for train, test in made)
        return made

    monkeypatch.setattr(fitting, "_splits", watched)
    fit_probe(*fitted, name="p")
    assert len(seen) > 50
    assert all(not train & test for train, test in seen)


def test_saved_and_read_it_gives_the_same_probabilities(fitted, tmp_path):
    probe, labels, _ = fit_probe(*fitted, name="p")
    save_probe(probe, labels, tmp_path / "p")
    again = load_probe(tmp_path / "p")
    vectors = vectors_of(fitted[0])
    np.testing.assert_array_equal(again.probabilities(vectors), probe.probabilities(vectors))
    assert again.digest == probe.digest
    assert (tmp_path / "p" / "reliability.png").stat().st_size > 5000
    by_hand = 1 / (1 + np.exp(-(vectors.astype(float) @ probe.weights[0].astype(float) + probe.bias[0])))
    np.testing.assert_allclose(again.probabilities(vectors)[:, 0], by_hand)


def test_probabilities_are_calibrated_on_patients_not_seen(tmp_path):
    table, text = cohort(patients=400, slices=1, strength=0.8)
    (tmp_path / "l.csv").write_text(text)
    probe, _, _ = fit_probe(table, read_truth(tmp_path / "l.csv"), name="p")
    assert probe.card["metrics"]["A"]["expected_calibration_error"] < 0.12


def embedding(vector, series, number):
    return Embedding(Frame(FrameKey(f"1.{series}.{number}"), None, f"2.{series}"), np.asarray(vector, np.float32))


def test_scores_of_frames_and_of_series(fitted):
    frames = [embedding(v, i // 3, i % 3) for i, v in enumerate(vectors_of(fitted[0])[:9])]
    spaces = {"2.0": "s1", "2.1": "s1", "2.2": "another"}
    of_frames = fit_probe(*fitted, name="p")[0].score(frames, spaces)
    assert len(of_frames) == 12
    assert {s.series_instance_uid for s in of_frames} == {"2.0", "2.1"}
    assert {s.label for s in of_frames} == {"A [probe p]", "B [probe p]"}
    assert {s.kind for s in of_frames} == {ScoreKind.PROBE_PROBABILITY}
    of_series = fit_probe(*fitted, name="p", level=Level.SERIES)[0].score(frames, spaces)
    assert len(of_series) == 4
    assert all(s.derivation == "mean" for s in of_series)


def test_another_encoder_is_refused(fitted):
    probe, _, _ = fit_probe(*fitted, name="p")
    probe.check_encoder("w1", "x")
    with pytest.raises(FingerprintError, match="fit it again"):
        probe.check_encoder("w2", "x")
    mixed = pa.concat_tables([fitted[0], cohort(weights="w2")[0]])
    with pytest.raises(FingerprintError, match="2 encoders"):
        fit_probe(mixed, fitted[1], name="p")


def test_too_few_patients_are_refused_with_their_number():
    rng = np.random.default_rng(0)
    truth = np.array([1.0, 1.0, 1.0, 0, 0, 0, 0, np.nan])
    groups = np.array(["a", "a", "a", "b", "c", "d", "e", "f"])
    with pytest.raises(ProbeError, match="positives in 1 and negatives in 4"):
        fit_label("A", rng.normal(size=(8, 4)), truth, groups)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,A\np,1\n", "none of the columns"),
        ("study_instance_uid\n1.2\n", "no label column"),
        ("study_instance_uid,A\n1.2,maybe\n", "line 2, column A"),
    ],
)
def test_a_wrong_truth_table_is_refused(text, words, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_truth(tmp_path / "t.csv")


def test_unknown_truth_is_neither_positive_nor_negative(tmp_path):
    (tmp_path / "t.csv").write_text("study_instance_uid,A\n1,1\n2,0\n3,\n4,-1\n5,1.0\n")
    truth = read_truth(tmp_path / "t.csv")
    values = truth.column("A", tuple((k,) for k in "123456"))
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, True, False, True])


def test_pooling_keeps_order_and_takes_the_mean(fitted):
    rows = pooled(fitted[0], "series")
    assert rows.keys[:2] == (("2.0",), ("2.1",))
    np.testing.assert_allclose(rows.vectors[1], vectors_of(fitted[0])[3:6].mean(axis=0), rtol=1e-5)


def test_a_store_is_read_as_embeddings(tmp_path):
    EmbeddingStore.open(tmp_path / "store", create=True).write(made_rows("1.2.1", frames=4))
    table = read_embeddings(tmp_path / "store")
    assert len(table) == 4
    assert vectors_of(table).shape == (4, 16)
    assert pooled(table, "series").vectors.shape == (1, 16)


def test_embeddings_that_are_not_there_are_said(tmp_path):
    with pytest.raises(UsageError, match="process"):
        read_embeddings(tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        read_embeddings(tmp_path)
