"""`models reference`: a model's reference from a store, preset by preset, and what it then says."""

import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dicom_pipeline.cli.app import app
from dicom_pipeline.domain import embedding_space
from dicom_pipeline.encoders.checkpoint import reference_file, weights_digest
from dicom_pipeline.errors import UsageError
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.reference_fitting import references_of
from dicom_pipeline.scoring import load_reference
from tests.research.made import WEIGHTS, made_rows


def rows(preset: str, studies: int, frames: int, weights: str = WEIGHTS, digest: str | None = None) -> pa.Table:
    space = embedding_space(weights, digest or load_preset(preset).digest)
    made = [
        made_rows(f"1.{len(preset)}.{n}", frames=frames, seed=n, weights=weights, preset=preset, space=space)
        for n in range(studies)
    ]
    return pa.concat_tables(made)


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore.open(tmp_path / "store", create=True)


def test_each_preset_with_enough_rows_has_one_and_the_others_a_reason(store):
    store.write(
        pa.concat_tables([rows("xray", 40, 6), rows("mr-percentile", 19, 12), rows("colour", 30, 8, digest="old")])
    )
    made, without = references_of(store, WEIGHTS)
    assert {name: (x.rows, x.studies, x.digest) for name, x in made.items()} == {
        "xray": (240, 40, load_preset("xray").digest)
    }
    assert without["mr-percentile"] == "228 rows of 19 studies; 200 rows of 20 studies are needed"
    assert without["colour"].startswith("0 rows of 0 studies")
    distances = made["xray"].distances(store.vectors("preset = 'xray'"))
    assert (distances <= made["xray"].limit).mean() > 0.99


def test_a_condition_chooses_rows_and_too_few_are_refused(store):
    store.write(rows("xray", 40, 6))
    with pytest.raises(UsageError, match="xray: 6 rows of 1 studies"):
        references_of(store, WEIGHTS, "study_instance_uid = '1.4.3'")
    with pytest.raises(UsageError, match="no rows"):
        references_of(store, WEIGHTS, "modality = 'US'")


def test_the_command_writes_it_to_the_checkpoint_and_changes_no_weights(store, tmp_path):
    shipped = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))
    folder = tmp_path / "model"
    shutil.copytree(shipped, folder)
    reference_file(folder).unlink()
    weights = weights_digest(folder)
    assert weights == weights_digest(shipped)
    store.write(rows("xray", 40, 6, weights))
    run = CliRunner().invoke(app, ["models", "reference", str(folder), "--from", str(store.place), "--exclusive"])
    assert run.exit_code == 0, run.output
    assert "240" in run.output
    assert weights_digest(folder) == weights
    found = load_reference(reference_file(folder), weights)
    assert found.exclusive
    assert np.isfinite(found.presets["xray"].limit)
