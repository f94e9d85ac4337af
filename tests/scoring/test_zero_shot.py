"""SigLIP's mathematics, the pair protocol, ensembles, series scores and label sets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.domain import Derivation, Embedding, Frame, FrameKey, ImageTraits, Label, LabelSet, ScoreKind
from dicom_pipeline.errors import LabelSetError
from dicom_pipeline.scoring import ZeroShot, label_set_from, list_label_sets, load_label_set, series_scores


class Texts:
    """An encoder whose texts have known vectors."""

    logit_scale, logit_bias = float(np.log(10.0)), -3.0

    def __init__(self, vectors):
        self.vectors = {text: np.asarray(v, np.float32) for text, v in vectors.items()}

    def encode_texts(self, texts):
        return np.stack([self.vectors[t] for t in texts])


def embedding(vector, uid="1", series="s", traits=None):
    return Embedding(Frame(FrameKey(uid), Path("x"), series, traits=traits), np.asarray(vector, np.float32))


def label_set(kind, **prompts):
    labels = tuple(Label(name, tuple(p), tuple(n)) for name, (p, n) in prompts.items())
    return LabelSet("t", "1", labels, kind)


def test_sigmoid_is_normalised_scaled_biased_and_each_label_alone():
    texts = Texts({"a": [2, 0], "b": [0, 5]})
    scorer = ZeroShot(texts, label_set(ScoreKind.ZERO_SHOT_SIGMOID, A=(["a"], []), B=(["b"], [])))
    a, b = scorer.matrix(np.array([[3.0, 4.0]], np.float32))[0]
    assert a == pytest.approx(1 / (1 + np.exp(-(10 * 0.6 - 3))))
    assert b == pytest.approx(1 / (1 + np.exp(-(10 * 0.8 - 3))))
    assert a + b > 1


def test_pair_is_the_softmax_of_two_logits_and_the_bias_cancels():
    texts = Texts({"yes": [1, 0], "no": [0, 1]})
    scorer = ZeroShot(texts, label_set(ScoreKind.ZERO_SHOT_PAIR, A=(["yes"], ["no"])))
    logits = 10 * np.array([0.6, 0.8]) - 3
    assert scorer.matrix(np.array([[3.0, 4.0]], np.float32))[0, 0] == pytest.approx(
        np.exp(logits[0]) / np.exp(logits).sum()
    )


def test_an_ensemble_averages_normalised_vectors():
    texts = Texts({"long": [100, 0], "short": [0, 1]})
    scorer = ZeroShot(texts, label_set(ScoreKind.ZERO_SHOT_SIGMOID, A=(["long", "short"], [])))
    assert scorer.matrix(np.array([[1.0, 1.0]], np.float32))[0, 0] == pytest.approx(1 / (1 + np.exp(-(10 - 3))))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.1, 100),
)
def test_scores_lie_in_0_to_1_and_ignore_the_length_of_embeddings(vectors, factor):
    scorer = ZeroShot(Texts({"a": [1, 2, 3]}), label_set(ScoreKind.ZERO_SHOT_SIGMOID, A=(["a"], [])))
    array = np.asarray(vectors, np.float32)
    scores = scorer.matrix(array)
    assert ((scores >= 0) & (scores <= 1)).all()
    lengths = np.linalg.norm(array, axis=1)
    keep = lengths > 1e-3
    np.testing.assert_allclose(scorer.matrix(array[keep] * np.float32(factor)), scores[keep], rtol=1e-3)


def test_labels_of_other_modalities_are_left_out():
    made = LabelSet("t", "1", (Label("A", ("a",), modalities=("MR",)), Label("B", ("a",))), ScoreKind.ZERO_SHOT_SIGMOID)
    scorer = ZeroShot(Texts({"a": [1, 0]}), made)
    assert [s.label for s in scorer.score([embedding([1, 0], traits=ImageTraits("CT"))])] == ["B"]
    assert [s.label for s in scorer.score([embedding([1, 0], traits=ImageTraits("MR"))])] == ["A", "B"]
    assert [s.label for s in scorer.score([embedding([1, 0])])] == ["A", "B"]  # nothing is known of the image


def test_series_scores_name_the_frame_that_made_them():
    scorer = ZeroShot(Texts({"a": [1, 0]}), label_set(ScoreKind.ZERO_SHOT_SIGMOID, A=(["a"], [])))
    frames = scorer.score([embedding([0, 1], "x"), embedding([1, 0], "y"), embedding([1, 1], "z")])
    values = {s.frame.sop_instance_uid: s.value for s in frames}
    (top,) = series_scores(frames, derivation=Derivation.MAX)
    assert (top.frame.sop_instance_uid, top.value) == ("y", values["y"])
    (mean,) = series_scores(frames, derivation=Derivation.MEAN)
    assert mean.value == pytest.approx(sum(values.values()) / 3)


def test_shipped_label_sets_load_and_snomed_codes_have_their_check_digit():
    sets = {s.name: s for s in list_label_sets()}
    assert set(sets) == {"cxr-13", "ct-chest", "mr-brain", "modality-bodypart", "phantom"}
    assert len(sets["cxr-13"].labels) == 13
    for label in (x for s in sets.values() for x in s.labels):
        for code in (label.code, label.site):
            if code is not None and code.scheme == "SCT":
                assert verhoeff_holds(code.value), code


def verhoeff_holds(number: str) -> bool:
    """The check digit of SNOMED CT identifiers (dihedral group D5)."""
    d = [[(i + j) % 5 + (5 if i < 5 <= j else 0) for j in range(10)] for i in range(10)]
    for i in range(10):
        for j in range(10):
            if i < 5 and j < 5:
                d[i][j] = (i + j) % 5
            elif i < 5 <= j:
                d[i][j] = (i + j - 5) % 5 + 5
            elif j < 5 <= i:
                d[i][j] = (i - 5 - j) % 5 + 5
            else:
                d[i][j] = (i - j) % 5
    p = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = p[value]
        check = d[check][value]
    return check == 0


def test_the_check_digit_test_would_notice():
    assert verhoeff_holds("8186001")
    assert not verhoeff_holds("8186002")
    assert not verhoeff_holds("60567007")


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "zero-shot-sigmoid"},
        {"kind": "best", "label": [{"name": "A", "positive": "a"}]},
        {"kind": "zero-shot-pair", "label": [{"name": "A", "positive": "a"}]},
        {"kind": "zero-shot-sigmoid", "label": [{"name": "A", "positive": "a", "threshold": 2}]},
        {"kind": "zero-shot-sigmoid", "label": [{"name": "A", "positive": "a", "code": ["1", "SCT"]}]},
        {"kind": "zero-shot-sigmoid", "label": [{"name": "A", "positive": "a"}, {"name": "A", "positive": "b"}]},
        {"kind": "zero-shot-sigmoid", "labels": []},
    ],
)
def test_a_wrong_label_set_is_refused(table):
    with pytest.raises(LabelSetError):
        label_set_from("t", table)


def test_an_unknown_label_set_names_the_known_ones(tmp_path):
    with pytest.raises(LabelSetError, match="cxr-13"):
        load_label_set("cxr-14")
    with pytest.raises(LabelSetError, match="cannot read"):
        load_label_set(tmp_path / "none.toml")
