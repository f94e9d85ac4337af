"""Rows of the store: what embeddings.parquet says of a frame, and the frame's scores beside it.

The scores are three lists of one length, so that any label set fits in one table: `score_labels`, `score_kinds`,
`score_values`. `--where "score('Nodule') > 0.5"` looks a label up in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dicom_pipeline.domain import Level
from dicom_pipeline.errors import StoreError
from dicom_pipeline.results.score_rows import ScoreRow, read_scores
from dicom_pipeline.results.tables import READABLE_VERSIONS, embeddings_schema

SCORE_LISTS = {
    "score_labels": pa.list_(pa.string()),
    "score_kinds": pa.list_(pa.string()),
    "score_values": pa.list_(pa.float64()),
}
KEY = ("sop_instance_uid", "frame")
"""What names a row."""


def row_schema(dimension: int) -> pa.Schema:
    """The store's columns for vectors of a dimension: those of embeddings.parquet and the scores."""
    schema = embeddings_schema(dimension).remove_metadata()
    for name, kind in SCORE_LISTS.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def dimension_of(table: pa.Table) -> int:
    """D of a table's vectors."""
    return int(table.schema.field("embedding").type.list_size)


def store_rows(embeddings: pa.Table, scores: Iterable[ScoreRow]) -> pa.Table:
    """Rows for the store from an embedding table and score rows, of which frame scores are taken."""
    of_frame: dict[tuple[str, int], list[ScoreRow]] = defaultdict(list)
    for score in scores:
        if score.level is Level.FRAME:
            of_frame[score.sop_instance_uid, score.frame].append(score)
    for name in ("domain", "domain_distance"):
        if name not in embeddings.column_names:  # of an earlier version
            column = pa.nulls(embeddings.num_rows, row_schema(dimension_of(embeddings)).field(name).type)
            place = embeddings.column_names.index("study_date") + 1 + (name == "domain_distance")
            embeddings = embeddings.add_column(place, name, column)
    keys = zip(embeddings["sop_instance_uid"].to_pylist(), embeddings["frame"].to_pylist(), strict=True)
    mine = [of_frame.get(key, []) for key in keys]
    lists = {
        "score_labels": [[score.label for score in members] for members in mine],
        "score_kinds": [[score.kind.value for score in members] for members in mine],
        "score_values": [[score.value for score in members] for members in mine],
    }
    for name, values in lists.items():
        embeddings = embeddings.append_column(name, pa.array(values, SCORE_LISTS[name]))
    return embeddings.cast(row_schema(dimension_of(embeddings)))


def is_output(folder: Path) -> bool:
    """Whether a folder is what `process` writes, or one revision's results of the service."""
    return (folder / "embeddings.parquet").is_file()


def read_output(folder: Path) -> pa.Table:
    """The rows of a `process` output folder. Raises StoreError."""
    path = folder / "embeddings.parquet"
    try:
        table = pq.read_table(path)
        scores = list(read_scores(folder / "scores.csv"))
    except (OSError, ValueError) as error:  # pyarrow's own error of a broken file is a ValueError
        raise StoreError(
            f"cannot read embeddings.parquet and scores.csv of {folder}: {type(error).__name__}"
        ) from error
    version = (table.schema.metadata or {}).get(b"dicom_pipeline.schema", b"?").decode()
    if version not in READABLE_VERSIONS:
        raise StoreError(
            f"{path} has schema {version}, this program reads {' and '.join(READABLE_VERSIONS)}: process the studies again"
        )
    return store_rows(table, scores)


def studies_of(rows: pa.Table) -> list[tuple[str, int, pa.Table]]:
    """The rows of each study apart: study, revision, rows."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, uid in enumerate(rows["study_instance_uid"].to_pylist()):
        places[uid].append(index)
    parts = [(uid, rows.take(indices)) for uid, indices in places.items()]
    return [(uid, int(pc.max(part["revision"]).as_py() or 1), part) for uid, part in parts]


def vectors_of(table: pa.Table) -> npt.NDArray[np.float32]:
    """The embedding column as float32 (N, D)."""
    column = table["embedding"].combine_chunks()
    dimension = column.type.list_size
    flat = column.flatten() if isinstance(column, pa.Array) else pa.concat_arrays([c.flatten() for c in column.chunks])
    return np.asarray(flat, np.float32).reshape(-1, dimension)
