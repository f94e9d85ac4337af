"""The file formats of an export: each writes the same rows, some thousand at a time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dicom_pipeline.errors import StoreError
from dicom_pipeline.research.store.rows import vectors_of
from dicom_pipeline.results.csv_files import write_tables

Parts = Callable[[], Iterable[pa.Table]]
"""Gives the rows from the start each time it is called; every part has the same schema and an `embedding` column."""


def write_parquet(path: Path, parts: Parts, schema: pa.Schema, about: Mapping[str, Any]) -> None:
    """Embeddings as fixed-size lists of float32; what the export is stands in the schema's metadata."""
    named = schema.with_metadata({f"dicom_pipeline.{key}": str(value) for key, value in about.items()})
    with pq.ParquetWriter(path, named, compression="zstd") as writer:
        for part in parts():
            writer.write_table(part.cast(named))


def write_csv(path: Path, parts: Parts, schema: pa.Schema, about: Mapping[str, Any], *, escape: bool = True) -> None:
    """A column a dimension, embedding_0 and so on; floats in the shortest form that reads back the same."""
    del schema, about
    write_tables(path, map(_a_column_a_dimension, parts()), escape=escape)


def _a_column_a_dimension(part: pa.Table) -> pa.Table:
    vectors = vectors_of(part)
    wide = part.drop_columns(["embedding"])
    for d in range(vectors.shape[1]):
        wide = wide.append_column(f"embedding_{d}", pa.array(vectors[:, d]))
    return wide


def write_jsonl(path: Path, parts: Parts, schema: pa.Schema, about: Mapping[str, Any]) -> None:
    """One JSON object a row; floats with nine digits, which read back as the same float32."""
    del schema, about
    with path.open("w", encoding="utf-8") as stream:
        for part in parts():
            texts = [",".join(f"{x:.9g}" for x in vector) for vector in vectors_of(part).tolist()]
            for row, text in zip(part.drop_columns(["embedding"]).to_pylist(), texts, strict=True):
                fields = json.dumps(row, default=str, ensure_ascii=False)
                stream.write(f'{fields[:-1]}, "embedding": [{text}]}}\n')


def write_npz(path: Path, parts: Parts, schema: pa.Schema, about: Mapping[str, Any]) -> None:
    """One array a column, without pickles: embedding float32 (N, D), texts U ("" where empty), dates datetime64[D] (NaT)."""
    rows = sum(part.num_rows for part in parts())
    dimension = schema.field("embedding").type.list_size
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("embedding.npy", "w", force_zip64=True) as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
            np.lib.format.write_array_header_2_0(stream, header)
            for part in parts():
                stream.write(np.ascontiguousarray(vectors_of(part), "<f4").tobytes())
        light = [part.drop_columns(["embedding"]) for part in parts()]
        table = pa.concat_tables(light)
        columns = {name: _array(table[name]) for name in table.column_names}
        columns["about"] = np.array(json.dumps(dict(about)))
        for name, array in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def write_hdf5(path: Path, parts: Parts, schema: pa.Schema, about: Mapping[str, Any]) -> None:
    """One dataset a column: embedding float32 (N, D), texts as UTF-8 ("" where empty), dates as ISO texts."""
    try:
        import h5py
    except ImportError as error:
        raise StoreError("the format hdf5 needs h5py: pip install 'dicom-pipeline[research]'") from error

    rows = sum(part.num_rows for part in parts())
    dimension = schema.field("embedding").type.list_size
    with h5py.File(path, "w") as file:
        file.attrs.update({key: str(value) for key, value in about.items()})
        vectors = file.create_dataset("embedding", (rows, dimension), "f4")
        at = 0
        light = []
        for part in parts():
            vectors[at : at + part.num_rows] = vectors_of(part)
            at += part.num_rows
            light.append(part.drop_columns(["embedding"]))
        table = pa.concat_tables(light)
        for name in table.column_names:
            array = _array(table[name])
            if array.dtype.kind == "M":
                array = np.where(np.isnat(array), "", np.datetime_as_string(array))
            texts = array.dtype.kind == "U"
            file.create_dataset(
                name, data=array.astype(object) if texts else array, dtype=h5py.string_dtype() if texts else None
            )


def _array(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """A column as a plain array: text "", number NaN, whole number -1 and date NaT where it is empty."""
    kind = column.type
    if pa.types.is_string(kind):
        return np.array([value or "" for value in column.to_pylist()], dtype=np.str_)
    if pa.types.is_date(kind):
        return np.array(column.to_pylist(), dtype="datetime64[D]")
    if pa.types.is_integer(kind):
        return np.array([-1 if value is None else value for value in column.to_pylist()], np.int64)
    return np.array([np.nan if value is None else value for value in column.to_pylist()], np.float64)


FORMATS: Mapping[str, tuple[str, Callable[[Path, Parts, pa.Schema, Mapping[str, Any]], None]]] = {
    "parquet": ("embeddings.parquet", write_parquet),
    "csv": ("embeddings.csv", write_csv),
    "npz": ("embeddings.npz", write_npz),
    "hdf5": ("embeddings.h5", write_hdf5),
    "jsonl": ("embeddings.jsonl", write_jsonl),
}
"""Format -> file name and writer."""
