"""A score keeps its digits wherever it goes: scores.csv, the store, JSON, exports; people read the digits that count."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.cli.printing import console, plans_table
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Derivation, Level, ScoreKind, score_text
from dicom_pipeline.pipeline import Pipeline
from dicom_pipeline.reporting import read_report
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.export.exporter import export
from dicom_pipeline.research.store.rows import read_output, store_rows
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.score_rows import SCORE_COLUMNS, ScoreRow, read_scores, write_scores
from dicom_pipeline.results.study_output import StudyOutput

SMALL = 4.400123456789e-07
ROW = ScoreRow(
    "1.1", "1.2", "1.3", 1, Level.SERIES, "A, b", ScoreKind.ZERO_SHOT_SIGMOID, Derivation.MAX, SMALL, "e", "f"
)
FRAME_ROW = dataclasses.replace(ROW, level=Level.FRAME, derivation=None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1))
def test_scores_csv_gives_back_the_same_numbers(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "scores.csv"
    rows = [dataclasses.replace(row, value=value) for row in (ROW, FRAME_ROW) for value in values]
    write_scores(path, rows)
    assert list(read_scores(path)) == rows


def test_json_gives_back_the_same_row():
    for row in (ROW, FRAME_ROW):
        said = json.loads(json.dumps(row.values()))
        assert said["value"] == SMALL
        assert ScoreRow.from_texts({name: str(value) for name, value in said.items()}) == row


def test_a_file_of_an_earlier_version_is_read():
    texts = {**{name: str(value) for name, value in ROW.values().items()}, "value": "0.833333"}
    assert ScoreRow.from_texts(texts).value == 0.833333


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("value", "much", "much"),
        ("value", None, "no value"),
        ("level", "patient", "patient"),
        ("kind", "guess", "guess"),
        ("frame", "", "invalid literal"),
        ("derivation", "sum", "sum"),
        ("encoder", None, "no encoder"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused(column, text, words):
    texts = {name: str(value) for name, value in ROW.values().items()}
    with pytest.raises(ValueError, match=words):
        ScoreRow.from_texts({**texts, column: text})


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 2, "0.00"),
        (1e-7, 2, "1e-07"),
        (0.044, 2, "0.04"),
        (0.0998, 2, "0.10"),
        (0.5, 2, "0.50"),
        (0.83, 3, "0.830"),
        (0.004, 3, "0.004"),
        (0.0044, 3, "0.0044"),
        (0.0004, 3, "0.0004"),
        (SMALL, 3, "4.4e-07"),
        (1, 2, "1.00"),
    ],
)
def test_a_small_score_does_not_look_like_none(value, digits, text):
    assert score_text(value, digits) == text


@pytest.fixture(scope="module")
def small(tmp_path_factory, sample_data):
    """A study whose scores are all SMALL: its output, and the folder that holds it."""
    pipeline = Pipeline.from_config(Settings(), keep_renderings=1)
    pipeline._zero_shot[0].matrix = lambda vectors: np.full((len(vectors), len(pipeline.recipe.labels.labels)), SMALL)
    result = pipeline.process_study([sample_data / "studies" / "cr-chest-normal"])
    output = StudyOutput.of(result, pipeline.encoder.dimension)
    folder = OutputFolder(tmp_path_factory.mktemp("small"))
    folder.add(output)
    folder.write()
    return result, output, folder


def test_every_file_has_the_number(small):
    result, output, folder = small
    with (folder.folder / "scores.csv").open(newline="") as stream:
        assert {float(row["value"]) for row in csv.DictReader(stream)} == {SMALL}
    assert list(read_scores(folder.folder / "scores.csv")) == list(output.scores)
    assert StudyOutput.read(folder.folder).scores == output.scores
    assert {score.value for score in read_report(result.report).scores} == {float(f"{SMALL:.6g}")}


def test_the_store_and_its_export_have_the_number(small, tmp_path):
    _, output, folder = small
    rows = store_rows(output.embeddings, output.scores)
    assert set(np.concatenate(rows["score_values"].to_pylist())) == {SMALL}
    store = EmbeddingStore.open(tmp_path / "store", create=True)
    store.write(read_output(folder.folder))
    label = output.scores[0].label
    assert store.count(f"score('{label}') > 4.4e-7") == 1
    assert store.count(f"score('{label}') > 4.5e-7") == 0
    export(store, tmp_path / "export", pseudonyms=None)
    assert {row.value for row in _exported(tmp_path / "export" / "scores.csv")} == {SMALL}


def test_people_see_the_digits_that_count(small):
    _, output, folder = small
    assert ">4.4e-07<" in (folder.folder / "report.html").read_text()
    screen = console()
    with screen.capture() as shown:
        screen.print(plans_table(folder.plans, folder.scores))
    assert "4e-07" in shown.get()
    assert output.sheet is not None


def test_the_columns_are_the_fields():
    assert tuple(ROW.values()) == SCORE_COLUMNS


def _exported(path):
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            yield ScoreRow.from_texts(row)
