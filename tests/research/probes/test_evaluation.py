"""The evaluation: known answers, subgroups, files for people and scripts."""

import json

import numpy as np
import pytest

from dicom_pipeline.domain import Label, LabelSet, ScoreKind
from dicom_pipeline.errors import FingerprintError, UsageError
from dicom_pipeline.research.probes.evaluation import evaluate
from dicom_pipeline.research.probes.evaluation_files import write_evaluation
from dicom_pipeline.research.probes.truth import read_truth
from tests.research.probes.test_probes import cohort


class Texts:
    """An encoder whose text for A points where A's positives lie, for B nowhere in particular."""

    name, weights, notice, logit_scale, logit_bias, dimension = "made up", "w1", "Numbers of a test.", 2.0, 0.0, 12

    def __init__(self, direction):
        self.direction = direction

    def encode_texts(self, texts):
        rng = np.random.default_rng(3)
        return np.stack([self.direction if text == "a" else rng.normal(size=12) for text in texts]).astype(np.float32)


LABELS = LabelSet("cxr-13", "1", (Label("a", ("a",)), Label("Fracture", ("b",))), ScoreKind.ZERO_SHOT_SIGMOID)


@pytest.fixture
def evaluated(tmp_path):
    table, text = cohort(patients=80, strength=3.0)
    (tmp_path / "t.csv").write_text(text.replace(",B", ",fracture").replace("p0,", "p0,"))
    rng = np.random.default_rng(0)
    rng.random(80)
    direction = rng.normal(size=12)
    for name in ("manufacturer", "model", "sex", "age_band", "body_part", "view"):
        values = [("X", "Y")[i % 2] if name == "manufacturer" else None for i in range(len(table))]
        table = table.append_column(name, [values])
    return table, read_truth(tmp_path / "t.csv"), Texts(direction)


def test_findings_have_auc_interval_probe_and_subgroups(evaluated, tmp_path):
    table, truth, encoder = evaluated
    result = evaluate(table, truth, LABELS, encoder, repeats=200)
    first, second = result["findings"]
    assert first["zero_shot"]["auc"] > 0.8
    assert first["probe"]["auc"] > 0.9
    assert first["zero_shot"]["auc_low"] <= first["zero_shot"]["auc"] <= first["zero_shot"]["auc_high"]
    assert second["published_auc"] == 0.708
    assert [g["value"] for g in first["subgroups"]] == ["X", "Y"]
    assert sum(g["rows"] for g in first["subgroups"]) == first["rows"] == 80
    assert [p["n"] for p in result["efficiency"]["a"]] == [8, 16]
    write_evaluation(result, tmp_path / "out")
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["findings"][0]["zero_shot"]["auc"] == first["zero_shot"]["auc"]
    page = (tmp_path / "out" / "results.md").read_text()
    assert "Research use only" in page
    assert "| Fracture |" in page
    assert "0.708" in page
    assert (tmp_path / "out" / "auc.png").stat().st_size > 5000


def test_it_is_the_same_each_time(evaluated):
    table, truth, encoder = evaluated
    once, twice = (evaluate(table, truth, LABELS, encoder, probe=False, repeats=50) for _ in range(2))
    assert once == twice


def test_other_embeddings_and_foreign_labels_are_refused(evaluated):
    table, truth, encoder = evaluated
    encoder.weights = "w2"
    with pytest.raises(FingerprintError, match="name the model"):
        evaluate(table, truth, LABELS, encoder)
    encoder.weights = "w1"
    with pytest.raises(UsageError, match="the truth has the columns"):
        evaluate(table, truth, LabelSet("x", "1", (Label("Z", ("z",)),), ScoreKind.ZERO_SHOT_SIGMOID), encoder)
