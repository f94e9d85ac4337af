"""Whatever of a recipe changes, the fingerprint changes; whatever of the machine changes, it does not."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Condition, Derivation, Frame, FrameKey, Label, LabelSet, Plan, ScoreKind, SeriesPlan
from dicom_pipeline.encoders import load_encoder
from dicom_pipeline.errors import FingerprintError
from dicom_pipeline.pipeline import EncoderIdentity, Pipeline, Recipe
from dicom_pipeline.pipeline.recipe import SR_CLASSES
from dicom_pipeline.planning import default_rules, rules_from
from dicom_pipeline.reporting import COMPANIONS
from dicom_pipeline.scoring import LabelChoice, Probe, Reference, load_label_set

ENCODER = EncoderIdentity("phantom", "ab" * 32, "cpu-float32", 2, "Trained on drawings only.")
FRAME = Frame(FrameKey("1.2.3"), Path("x"), "1.2")
PLAN = Plan("1.1", (SeriesPlan("1.2", "CT", "chest", "ct-medgemma-report", "all", (FRAME,)),))
LABELS = LabelSet("t", "1", (Label("A", ("a",)),), ScoreKind.ZERO_SHOT_SIGMOID)
KNEES = ((Condition("body_part", ("knee",)),),)


def probe(name="nodule", weight=1.0):
    return Probe(name, ("A",), np.full((1, 4), weight, np.float32), np.zeros(1, np.float32), ("s",), ENCODER.weights)


RECIPE = Recipe(ENCODER, LabelChoice((LABELS,)), probes=(probe(),), selection="all")

CHANGES = {
    "encoder": [
        dataclasses.replace(ENCODER, **{name: value})
        for name, value in {
            "name": "other",
            "precision": "cpu-bfloat16",
            "batch_size": 4,
            "notice": "",
            "package": "their-encoder 2.0",
        }.items()
    ],
    "label_sets": [
        LabelChoice(),
        LabelChoice((dataclasses.replace(LABELS, version="2"),)),
        LabelChoice((dataclasses.replace(LABELS, labels=(Label("A", ("a", "b")),)),)),
        LabelChoice((dataclasses.replace(LABELS, labels=(Label("A", ("a",), threshold=0.5),)),)),
        LabelChoice((dataclasses.replace(LABELS, labels=(Label("A", ("a",), applies_to=KNEES),)),)),
        LabelChoice((dataclasses.replace(LABELS, applies_to=KNEES),)),
        LabelChoice((load_label_set("phantom"),)),
        LabelChoice((LABELS, load_label_set("phantom"))),
        LabelChoice((LABELS,), (LABELS,)),
        LabelChoice((LABELS,), (load_label_set("phantom"),)),
        LabelChoice((), (LABELS,)),
    ],
    "scores_all_alike": [True],
    "reference": [Reference(ENCODER.weights, False, "ef" * 32, {})],
    "probes": [(), (probe("effusion"),), (probe(weight=2.0),), (probe(), probe("effusion"))],
    "rules": [
        rules_from({}),
        rules_from({"series": {"most": 3}}),
        rules_from({"score": [{"Modality": ["MR"], "label_sets": []}]}),
    ],
    "preset": ["ct-medgemma-report", "ct-single:lung"],
    "selection": [None, "uniform:3"],
    "derivation": [Derivation.MEAN, Derivation.TOP_K_MEAN],
    "key_frames": [0, 4],
    "sop_class": ["comprehensive", "enhanced"],
    "companions": [("key-image",), ("key-image", "embeddings")],
    "versions": [(), tuple((name, version + ".1") for name, version in RECIPE.versions)],
    "build": ["cd" * 32],
}


def fingerprint(recipe):
    return recipe.provenance(PLAN).fingerprint


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHANGES.items() for value in values])
def test_any_change_of_the_recipe_changes_the_fingerprint(name, value):
    assert fingerprint(dataclasses.replace(RECIPE, **{name: value})) != fingerprint(RECIPE)


def test_other_weights_change_the_fingerprint():
    other = dataclasses.replace(ENCODER, weights="cd" * 32)
    assert fingerprint(Recipe(other)) != fingerprint(Recipe(ENCODER))


def test_each_field_of_the_recipe_and_of_the_encoder_is_tried_above():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Recipe)}
    tried = {
        f.name for f in dataclasses.fields(ENCODER) for e in CHANGES["encoder"] if vars_of(e, f) != vars_of(ENCODER, f)
    }
    assert tried | {"weights"} == {field.name for field in dataclasses.fields(EncoderIdentity)}


def vars_of(value, field):
    return getattr(value, field.name)


encoders = st.builds(
    EncoderIdentity, st.text(max_size=5), st.just("ab"), st.text(max_size=5), st.integers(1, 64), st.text()
)
recipes = st.builds(
    Recipe,
    encoders,
    st.sampled_from([LabelChoice(), LabelChoice((LABELS,)), LabelChoice.load(["phantom"], ["mr-brain"])]),
    rules=st.sampled_from([default_rules(), rules_from({})]),
    preset=st.sampled_from([None, "xray", "ct-single:lung"]),
    selection=st.sampled_from([None, "all", "uniform:3"]),
    derivation=st.sampled_from(list(Derivation)),
    key_frames=st.integers(0, 20),
    sop_class=st.sampled_from(list(SR_CLASSES)),
    companions=st.lists(st.sampled_from([c for c in COMPANIONS if c != "pdf"]), unique=True).map(tuple),
    versions=st.lists(st.tuples(st.text(), st.text()), max_size=3, unique_by=lambda v: v[0])
    .map(tuple)
    .map(sorted)
    .map(tuple),
    build=st.text(max_size=5),
)


@settings(max_examples=200, deadline=None)
@given(recipes, recipes)
def test_two_recipes_share_a_fingerprint_only_where_they_are_equal(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
    assert fingerprint(one) == fingerprint(dataclasses.replace(one))


IN_ANOTHER_PROCESS = """
from tests.pipeline.test_recipe import PLAN, of_settings
print(of_settings().provenance(PLAN).fingerprint)
"""


def of_settings():
    return Recipe.from_settings(Settings(), SimpleNamespace(**dataclasses.asdict(ENCODER)))


def test_another_process_with_other_threads_and_another_hash_seed_gives_the_same_fingerprint():
    changed = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], env=changed, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == of_settings().provenance(PLAN).fingerprint


def test_the_settings_of_speed_are_no_part_of_it():
    quick = Settings(rendering={"processes": 7, "frame_seconds": 7}, encoder={"threads": 1})
    encoder = SimpleNamespace(**dataclasses.asdict(ENCODER))
    assert Recipe.from_settings(quick, encoder) == Recipe.from_settings(Settings(), encoder)


def test_a_pipeline_refuses_the_recipe_of_another_encoder():
    encoder = load_encoder("phantom", device="cpu", dtype="float32")
    recipe = Recipe(dataclasses.replace(EncoderIdentity.of(encoder), batch_size=3))
    with pytest.raises(FingerprintError, match="batch_size=3"):
        Pipeline(encoder, recipe)


def test_the_result_carries_what_the_recipe_says(sample_data):
    encoder = load_encoder("phantom", device="cpu", dtype="float32")
    recipe = Recipe(EncoderIdentity.of(encoder), LabelChoice.load(["phantom"]), selection="middle:1", key_frames=1)
    result = Pipeline(encoder, recipe).process_study([sample_data / "studies" / "cr-chest-normal"])
    assert result.provenance == recipe.provenance(result.plan)
    assert result.provenance.versions == dict(recipe.versions)
    assert result.provenance.build == recipe.build
