"""The rows of an export: one a frame, a series or a study, in order, with vectors and scores fetched piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.domain import Level
from dicom_pipeline.research.store.pooling import Pooling
from dicom_pipeline.research.store.rows import SCORE_LISTS, vectors_of
from dicom_pipeline.research.store.snapshot import BATCH_ROWS, Snapshot

ORDER = ("patient_id", "study_instance_uid", "series_instance_uid", "stack", "position_mm", "sop_instance_uid", "frame")
KEYS: Mapping[Level, str] = {Level.SERIES: "series_instance_uid", Level.STUDY: "study_instance_uid"}
NOT_POOLED = ("sop_instance_uid", "frame", "position_mm", "stack")
"""Columns that a pooled row does not have; a study's row has no series_instance_uid either."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is exported. Make one with `rows_of`.

    light: a row a frame as it may be shown, in export order, with `_rowid`. spans: for each exported row its first light
    row and the one after its last. heads: the exported rows without vectors.
    """

    snapshot: Snapshot
    light: pa.Table
    level: Level
    pooling: Pooling
    spans: tuple[tuple[int, int], ...]
    heads: pa.Table

    @property
    def schema(self) -> pa.Schema:
        """The columns of `parts`."""
        dimension = int(self.snapshot.schema.field("embedding").type.list_size)
        return self.heads.schema.append(pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False))

    def parts(self) -> Iterator[pa.Table]:
        """The exported rows with their vectors; at least one part, so that no rows are rows too."""
        if not self.spans:
            yield self.schema.empty_table()
        for start, stop, heavy in self._pieces(("embedding",)):
            vectors = vectors_of(heavy)
            if self.level is not Level.FRAME:
                first = self.spans[start][0]
                vectors = np.stack(
                    [self._pooled(vectors[a - first : b - first], a, b) for a, b in self.spans[start:stop]]
                )
            embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
            yield self.heads.slice(start, stop - start).append_column(self.schema.field("embedding"), embedding)

    def scores(self) -> Iterator[dict[str, Any]]:
        """Scores as mappings of SCORE_COLUMNS; of a series or study each label's largest, naming its frame."""
        for start, stop, heavy in self._pieces(tuple(SCORE_LISTS)):
            first = self.spans[start][0]
            light = self.light.slice(first, heavy.num_rows).to_pylist()
            lists = heavy.to_pylist()
            for a, b in self.spans[start:stop]:
                yield from self._best(light[a - first : b - first], lists[a - first : b - first])

    def _pieces(self, columns: tuple[str, ...]) -> Iterator[tuple[int, int, pa.Table]]:
        """Exported rows start..stop and the heavy columns of their frames; one span is never cut."""
        ids = self.light["_rowid"].to_pylist()
        start = 0
        while start < len(self.spans):
            stop = start + 1
            while stop < len(self.spans) and self.spans[stop][1] - self.spans[start][0] <= BATCH_ROWS:
                stop += 1
            yield start, stop, self.snapshot.heavy(ids[self.spans[start][0] : self.spans[stop - 1][1]], columns)
            start = stop

    def _pooled(self, vectors: npt.NDArray[np.float32], first: int, last: int) -> npt.NDArray[np.float32]:
        """One vector of the light rows first..last; a study pools its series' vectors."""
        if self.level == "series":
            return self.pooling.pool(vectors)
        series = np.array(self.light["series_instance_uid"].slice(first, last - first).to_pylist())
        return self.pooling.pool(np.stack([self.pooling.pool(vectors[series == uid]) for uid in dict.fromkeys(series)]))

    def _best(self, light: list[dict[str, Any]], lists: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        best: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}
        for row, scores in zip(light, lists, strict=True):
            for label, kind, value in zip(*(scores[name] or () for name in SCORE_LISTS), strict=True):
                if (label, kind) not in best or value > best[label, kind][0]:
                    best[label, kind] = value, row
        derivation = "" if self.level is Level.FRAME else "max"
        for (label, kind), (value, where) in best.items():
            scored = {
                "level": self.level,
                "label": label,
                "kind": kind,
                "derivation": derivation,
                "value": value,
            }
            yield {**where, **scored}


def rows_of(snapshot: Snapshot, light: pa.Table, level: Level, pooling: Pooling) -> Rows:
    """Order light rows (already as they may be shown) and group them by the level."""
    light = light.sort_by([(name, "ascending") for name in ORDER])
    if level is Level.FRAME:
        spans = tuple((i, i + 1) for i in range(light.num_rows))
        return Rows(snapshot, light, level, pooling, spans, light.drop_columns(["_rowid"]))
    keys = light[KEYS[level]].to_pylist()
    spans = tuple((m[0], m[-1] + 1) for m in (list(g) for _, g in groupby(range(len(keys)), keys.__getitem__)))
    return Rows(snapshot, light, level, pooling, spans, _heads(light, level, spans))


def _heads(light: pa.Table, level: Level, spans: tuple[tuple[int, int], ...]) -> pa.Table:
    """A row a span: what its frames agree on; texts that differ are joined by a backslash, numbers that differ empty."""
    dropped = {"_rowid", *NOT_POOLED} | ({"series_instance_uid"} if level is Level.STUDY else set())
    names = [name for name in light.column_names if name not in dropped]
    columns = {name: light[name].to_pylist() for name in names}
    joined = {name: [_joined(columns[name][a:b]) for a, b in spans] for name in names}
    made = pa.table(joined, schema=pa.schema([light.schema.field(name) for name in names]))
    return made.append_column("frames", pa.array([b - a for a, b in spans], pa.int32()))


def _joined(values: list[Any]) -> Any:
    found = sorted({value for value in values if value is not None})
    if len(found) <= 1:
        return found[0] if found else None
    return "\\".join(found) if isinstance(found[0], str) else None
