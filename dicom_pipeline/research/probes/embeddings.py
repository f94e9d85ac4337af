"""Embeddings as research tools take them in: from files, joined to the level that a truth table speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dicom_pipeline.domain import Level
from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.embedding_store import EmbeddingStore

KEYS = {
    Level.FRAME: ("sop_instance_uid", "frame"),
    Level.INSTANCE: ("sop_instance_uid",),
    Level.SERIES: ("series_instance_uid",),
    Level.STUDY: ("study_instance_uid",),
}
"""Level -> the columns that name one row of it."""


def read_embeddings(path: Path) -> pa.Table:
    """The table of embeddings.parquet, of a folder that `process` wrote, of a folder of parquet files, or of a store.

    Raises UsageError where there is none or it has no embedding column.
    """
    if path.is_dir() and any(path.glob("frames_*.lance")):
        return EmbeddingStore.open(path).rows()
    if path.is_dir():
        whole = path / "embeddings.parquet"
        files = [whole] if whole.is_file() else sorted(path.glob("*.parquet"))
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise UsageError(f"{path} is no parquet file and no folder with one; `dicom-pipeline process` writes one")
    try:
        table = pa.concat_tables([pq.read_table(file) for file in files])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UsageError(f"{path} cannot be read as one table of embeddings: {error}") from error
    if "embedding" not in table.column_names:
        raise UsageError(f"{path} has no column `embedding`; its columns are {', '.join(table.column_names)}")
    return table


def vectors_of(table: pa.Table) -> npt.NDArray[np.float32]:
    """The embedding column: float32 (N, D)."""
    column = table.column("embedding").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(len(table), -1)


@dataclass(frozen=True, slots=True)
class Pooled:
    """Rows of one level. keys: their UIDs. vectors: float32 (N, D), the mean of their frames.

    members: for each row the indices of its frames in the table. first: the index of its first frame.
    """

    keys: tuple[tuple[object, ...], ...]
    vectors: npt.NDArray[np.float32]
    members: tuple[npt.NDArray[np.intp], ...]

    @property
    def first(self) -> list[int]:
        """For each row the index of its first frame in the table."""
        return [int(index[0]) for index in self.members]


def pooled(table: pa.Table, level: Level) -> Pooled:
    """Frames joined to a level (frame, instance, series, study) by the mean of their raw vectors, in order of the table."""
    columns = [table.column(name).to_pylist() for name in KEYS[level]]
    rows: dict[tuple[object, ...], list[int]] = {}
    for index, key in enumerate(zip(*columns, strict=True)):
        rows.setdefault(key, []).append(index)
    members = tuple(np.array(indices) for indices in rows.values())
    vectors = vectors_of(table)
    means = [vectors[index].mean(axis=0, dtype=np.float64).astype(np.float32) for index in members]
    return Pooled(tuple(rows), np.stack(means) if means else vectors[:0], members)
