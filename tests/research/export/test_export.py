"""Exports: every format says the same, opens in one line, pools as stated, is whole or not there."""

import csv
import hashlib
import json

import duckdb
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.research.export.anonymity import k_anonymity
from dicom_pipeline.research.export.datasheet import COLUMNS
from dicom_pipeline.research.export.exporter import export
from dicom_pipeline.research.export.formats import FORMATS
from dicom_pipeline.research.export.pseudonyms import Pseudonyms
from dicom_pipeline.research.store.pooling import Pooling, normalised, parse_pooling
from dicom_pipeline.research.store.rows import row_schema
from tests.research.made import made_rows

NAMES = Pseudonyms(b"0123456789abcdef")


@pytest.fixture(scope="module")
def store():
    studies = [made_rows(f"1.{n}", frames=3, series=2, seed=n, kvp=None if n else 120.0) for n in range(4)]
    mixed = made_rows(
        "1.9", frames=2, series=2, seed=9, modality=["CT", "CT", "MR", "MR"], kvp=[100.0, 100.0, None, None]
    )
    return EmbeddingStore.in_memory(pa.concat_tables([*studies, mixed]))


@pytest.fixture(scope="module")
def frames(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("e") / "out"
    return out, export(store, out, formats=list(FORMATS), pseudonyms=NAMES)


def test_all_formats_hold_the_same_rows(frames):
    out, _ = frames
    table = pq.read_table(out / "embeddings.parquet")
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    uids = table["sop_instance_uid"].to_pylist()
    assert vectors.shape == (28, 16)
    with np.load(out / "embeddings.npz") as arrays:
        np.testing.assert_array_equal(arrays["embedding"], vectors)
        assert arrays["sop_instance_uid"].tolist() == uids
        assert arrays["study_date"].dtype == "datetime64[D]"
        assert json.loads(str(arrays["about"]))["level"] == "frame"
    with h5py.File(out / "embeddings.h5") as file:
        np.testing.assert_array_equal(file["embedding"][:], vectors)
        assert [uid.decode() for uid in file["sop_instance_uid"]] == uids
        assert file.attrs["schema"] == "dicom_pipeline/export/1"
    lines = [json.loads(line) for line in (out / "embeddings.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal(np.array([line["embedding"] for line in lines], np.float32), vectors)
    assert [line["sop_instance_uid"] for line in lines] == uids
    wide = pd.read_csv(out / "embeddings.csv")
    np.testing.assert_array_equal(wide.filter(like="embedding_").to_numpy(np.float32), vectors)
    assert wide["sop_instance_uid"].tolist() == uids


def test_each_tool_opens_it_in_one_line(frames, monkeypatch):
    monkeypatch.chdir(frames[0])
    assert pd.read_parquet("embeddings.parquet").shape == (28, len(COLUMNS) - 1)
    assert pl.read_parquet("embeddings.parquet")["embedding"].dtype == pl.Array(pl.Float32, 16)
    assert duckdb.sql("SELECT count(*) FROM 'embeddings.parquet' WHERE modality = 'CT'").fetchall() == [(26,)]
    assert np.load("embeddings.npz")["embedding"].shape == (28, 16)
    assert duckdb.sql("SELECT len(embedding) FROM 'embeddings.jsonl' LIMIT 1").fetchall() == [(16,)]


def test_the_values_are_those_of_the_store(store, frames):
    table = pq.read_table(frames[0] / "embeddings.parquet")
    exported = {row["sop_instance_uid"]: row["embedding"] for row in table.to_pylist()}
    for row in store.rows().to_pylist():
        assert exported[NAMES.uid(row["sop_instance_uid"])] == row["embedding"]


def test_the_manifest_says_what_is_there(frames):
    out, manifest = frames
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert manifest["counts"] == {"rows": 28, "patients": 5, "studies": 5, "series": 10, "frames": 28}
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == entry["sha256"]
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in out.iterdir()}
    assert manifest["fingerprints"] == {"f" * 64: 28}
    assert list(manifest["columns"]) == pq.read_schema(out / "embeddings.parquet").names
    sheet = (out / "README.md").read_text()
    for words in (
        "Embeddings are personal data",
        "Data steward (name, date, signature)",
        "**k = 1**",
        manifest["files"]["scores.csv"]["sha256"],
    ):
        assert words in sheet


@pytest.mark.parametrize("name", ["mean", "max", "top-k:2"])
@pytest.mark.parametrize("level", ["series", "study"])
def test_pooling_is_what_the_file_says(store, tmp_path, level, name):
    """Against numpy over the store's rows: normalise, pool each series, and for a study pool those."""
    pooling = parse_pooling(name)
    manifest = export(store, tmp_path / "e", level=level, pooling=pooling, pseudonyms=None)
    assert pooling.sentence == manifest["pooling"]
    made = {
        row[f"{level}_instance_uid"]: row for row in pq.read_table(tmp_path / "e" / "embeddings.parquet").to_pylist()
    }
    k = {"mean": None, "max": 1, "top-k:2": 2}[name]

    def pool(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.sort(unit, axis=0)[-(k or len(unit)) :].mean(axis=0)

    rows = store.rows().to_pandas()
    series = rows.groupby(["study_instance_uid", "series_instance_uid"])["embedding"].apply(lambda v: pool(np.stack(v)))
    expected = series.droplevel(0) if level == "series" else series.groupby(level=0).apply(lambda v: pool(np.stack(v)))
    assert len(made) == len(expected)
    for uid, vector in expected.items():
        np.testing.assert_allclose(made[uid]["embedding"], vector, rtol=1e-5, atol=1e-6)
    assert sum(row["frames"] for row in made.values()) == 28
    if level == "study":
        assert made["1.9"]["modality"] == "CT\\MR"
        assert made["1.9"]["kvp"] == 100.0


def test_scores_go_along_and_a_series_has_its_best_frame(store, tmp_path):
    export(store, tmp_path / "f", pseudonyms=None, where="study_instance_uid = '1.0'")
    export(store, tmp_path / "s", level="series", pseudonyms=None, where="study_instance_uid = '1.0'")
    with (tmp_path / "f" / "scores.csv").open() as stream:
        scores = list(csv.DictReader(stream))
    assert len(scores) == 6 * 2
    with (tmp_path / "s" / "scores.csv").open() as stream:
        (best,) = [
            row for row in csv.DictReader(stream) if row["label"] == "Nodule" and row["series_instance_uid"] == "1.0.1"
        ]
    assert (float(best["value"]), best["sop_instance_uid"], best["derivation"], best["level"]) == (
        5 / 6,
        "1.0.1.2",
        "max",
        "series",
    )


def test_the_order_tells_nothing_of_the_hospitals(store, tmp_path):
    """Rows are ordered by pseudonyms, slices of a series along the stack."""
    export(store, tmp_path / "e", pseudonyms=NAMES)
    rows = pq.read_table(tmp_path / "e" / "embeddings.parquet").to_pylist()
    keys = [(r["patient_id"], r["study_instance_uid"], r["series_instance_uid"], r["position_mm"]) for r in rows]
    assert keys == sorted(keys)


def test_an_export_is_whole_or_not_there(store, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="not empty"):
        export(store, tmp_path / "full", pseudonyms=NAMES)
    with pytest.raises(UsageError, match="parquet, csv"):
        export(store, tmp_path / "e", formats=["xlsx"], pseudonyms=NAMES)

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setitem(FORMATS, "npz", ("embeddings.npz", broken))
    with pytest.raises(OSError, match="disk full"):
        export(store, tmp_path / "e", formats=["parquet", "npz"], pseudonyms=NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_no_rows_are_an_export_too(store, tmp_path):
    manifest = export(store, tmp_path / "e", formats=list(FORMATS), where="modality = 'US'", pseudonyms=NAMES)
    assert manifest["counts"]["rows"] == 0
    assert pq.read_table(tmp_path / "e" / "embeddings.parquet").num_rows == 0
    assert np.load(tmp_path / "e" / "embeddings.npz")["embedding"].shape == (0, 16)


def test_k_anonymity_counts_patients_not_rows():
    rows = pa.concat_tables(
        [made_rows(f"1.{n}", sex="F" if n < 5 else "M", frames=n + 1, body_part=None) for n in range(7)]
    )
    found = k_anonymity(rows)
    assert (found["k"], found["patients"], found["classes"]) == (2, 7, 2)
    assert found["patients_in_classes_under_5"] == found["alone"]["sex"]["patients_in_classes_under_5"] == 2
    assert found["alone"]["modality"]["k"] == 7
    assert k_anonymity(rows.slice(0, 0))["k"] == 0


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(5)), elements=st.floats(-9, 9, width=32)),
    st.integers(1, 8),
)
def test_top_k_lies_between_mean_and_max(vectors, k):
    mean, top, largest = (p.pool(vectors) for p in (Pooling("mean"), Pooling("top-k", k), Pooling("max")))
    assert (mean <= top + 1e-6).all()
    assert (top <= largest + 1e-6).all()
    np.testing.assert_allclose(Pooling("top-k", len(vectors)).pool(vectors), mean, atol=1e-6)
    lengths = np.linalg.norm(normalised(vectors), axis=1)
    assert np.all((abs(lengths - 1) < 1e-5) | (lengths == 0))


def test_every_column_of_the_store_is_described():
    assert set(row_schema(4).names) - set(COLUMNS) == {"score_labels", "score_kinds", "score_values"}
