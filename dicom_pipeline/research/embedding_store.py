"""The embedding store: a row a frame in LanceDB, a table for each vector space (the weights of one model).

A study's rows are replaced as a whole, in one commit, and only by the same or a newer revision; readers see the old
rows or the new ones. `EmbeddingStore.open` also reads what `process` wrote, as a store in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock

from dicom_pipeline.domain import Level, level_of
from dicom_pipeline.encoders import Encoder
from dicom_pipeline.errors import StoreError, UsageError
from dicom_pipeline.research.search import neighbours
from dicom_pipeline.research.search.nearest import nearest
from dicom_pipeline.research.search.queries import encoder_of, row_query, vector_of_file
from dicom_pipeline.research.search.similar import STUDY_COLUMNS, most_similar, series_vectors
from dicom_pipeline.research.store.indexes import build_row_index, build_vector_index
from dicom_pipeline.research.store.lance import connect, is_local, lance_errors, local_lock
from dicom_pipeline.research.store.rows import KEY, is_output, read_output, studies_of, vectors_of
from dicom_pipeline.research.store.snapshot import BATCH_ROWS, Snapshot
from dicom_pipeline.research.store.where import Condition, parse_where, quoted

INDEXED_ROWS = 100_000
"""From so many rows on, `compact` builds a vector index; below, comparing with every row is quick and exact."""

MAX_SERIES = 8
"""Series with which studies like a study are looked for; their similarity then counts all series."""

SCALAR_INDEXES = ("study_instance_uid", "sop_instance_uid")


class EmbeddingStore:
    """Rows of embeddings to write, filter and search. Safe for many readers and one writer at a time.

    place: the folder or URL. space: the table (vector space) that is read; None while the store is empty.
    """

    def __init__(self, database: Any, place: str, space: str | None = None, lock: Path | None = None) -> None:
        self._database = database
        self._lock = lock
        self.place = place
        self.space = space

    @classmethod
    def open(
        cls, place: str | Path, *, space: str | None = None, create: bool = False, any_space: bool = False
    ) -> EmbeddingStore:
        """Open a store (folder or URL), or the output folder of `process` as a store in memory.

        space: which model's vectors to read, by the beginning of its weights' sha256; needed only where several are.
        create: for writing, also where there is no store yet. any_space: choose none, to look after all.
        Raises StoreError where there is none.
        """
        text = str(place)
        if is_local(text) and is_output(Path(text)):
            return cls.in_memory(read_output(Path(text)), text)
        if is_local(text) and not create and not any(Path(text).glob("frames_*.lance")):
            raise StoreError(
                f"{text} is neither an embedding store nor a folder that `dicom-pipeline process` wrote "
                "(no frames_*.lance, no embeddings.parquet)"
            )
        store = cls(connect(text), text, lock=local_lock(text))
        spaces = store.spaces()
        if len(spaces) > 1:  # a model that no study is of any more leaves an empty table until the next compaction
            spaces = [name for name in spaces if store._database.open_table(name).count_rows()] or spaces[:1]
        store.space = _chosen(spaces, space, several=create or any_space)
        return store

    @classmethod
    def in_memory(cls, rows: pa.Table, place: str = "memory") -> EmbeddingStore:
        """Rows as a store that lasts as long as this process. Raises StoreError where they are of several models."""
        store = cls(connect("memory://"), place)
        names = {_space_of(text) for text in rows["weights"].unique().to_pylist()}
        if len(names) > 1:
            raise StoreError(f"{place} holds vectors of {len(names)} models, which cannot be compared")
        for name in names:
            store._database.create_table(name, rows)
            store.space = name
        return store

    def spaces(self) -> list[str]:
        """The tables, one for each model whose vectors are here."""
        with lance_errors("list the store's tables"):
            listed = self._database.list_tables(limit=1000)
        return sorted(name for name in getattr(listed, "tables", listed) if name.startswith("frames_"))

    def every_space(self) -> Iterator[EmbeddingStore]:
        """This store once for each space."""
        for name in self.spaces():
            yield EmbeddingStore(self._database, self.place, name, self._lock)

    @property
    def table(self) -> Any:
        """The LanceDB table of the space that is read. Raises StoreError while the store is empty."""
        if self.space is None:
            raise StoreError(f"the store {self.place} is empty")
        with lance_errors("open the store's table"):
            return self._database.open_table(self.space)

    @property
    def schema(self) -> pa.Schema:
        """The columns of a row."""
        return self.table.schema

    @property
    def dimension(self) -> int:
        """D of the vectors."""
        return int(self.schema.field("embedding").type.list_size)

    def write(self, rows: pa.Table) -> int:
        """Write the rows of any number of studies; returns how many studies were taken (see write_study)."""
        return sum(self.write_study(uid, revision, part) for uid, revision, part in studies_of(rows))

    def write_study(self, study_instance_uid: str, revision: int, rows: pa.Table) -> bool:
        """Replace a study's rows in one commit. False, and nothing changes, where a newer revision is there.

        Rows may be none: the study is then removed. Raises StoreError.
        """
        condition = f"study_instance_uid = {quoted(study_instance_uid)}"
        space = _space_of(rows["weights"][0].as_py()) if rows.num_rows else None
        with self._writing(), lance_errors("write to the store"):
            present = {name: self._newest(name, condition) for name in self.spaces()}
            if max(present.values(), default=0) > revision:
                return False
            if space is not None:
                self._put(space, rows, condition, new=not present.get(space))
                self.space = self.space or space
            for name, newest in present.items():
                if newest and name != space:
                    self._database.open_table(name).delete(condition)
        return True

    def remove_study(self, study_instance_uid: str) -> None:
        """Remove a study's rows from every space."""
        with self._writing(), lance_errors("remove rows from the store"):
            for name in self.spaces():
                self._database.open_table(name).delete(f"study_instance_uid = {quoted(study_instance_uid)}")

    def _put(self, space: str, rows: pa.Table, condition: str, *, new: bool) -> None:
        if space not in self.spaces():
            self._database.create_table(space, schema=rows.schema)
        table = self._database.open_table(space)
        if added := [field for field in rows.schema if field.name not in table.schema.names]:
            table.add_columns(added)  # of an earlier version; null in the rows that are there
        if new:
            table.add(rows)
            return
        merge = table.merge_insert(list(KEY)).when_matched_update_all().when_not_matched_insert_all()
        merge.when_not_matched_by_source_delete(condition).execute(rows)

    def _newest(self, space: str, condition: str) -> int:
        found = self._database.open_table(space).search().where(condition).select(["revision"]).limit(1).to_arrow()
        return int(found["revision"][0].as_py()) if found.num_rows else 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time; object storage has no lock, and LanceDB's own conflict check alone."""
        if self._lock is None:
            yield
            return
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock, fallback_to_soft=False):
            yield

    def condition(self, where: str | None) -> Condition | None:
        """A `--where` text checked against the columns; None without one. Raises UsageError."""
        return parse_where(where, self.schema) if where else None

    def count(self, where: str | None = None) -> int:
        """Rows that meet a condition."""
        condition = self.condition(where)
        with lance_errors("count rows"):
            return int(self.table.count_rows(condition.sql if condition else None))

    def rows(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows that meet a condition, in memory. `batches` gives them piece by piece."""
        return pa.Table.from_batches(self.batches(where, columns), schema=self._schema_of(columns))

    def batches(self, where: str | None = None, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows that meet a condition, some thousand at a time, of one version of the store."""
        condition = self.condition(where)
        schema = self._schema_of(columns)
        with lance_errors("read the store"):
            query = self.table.search().select(list(schema.names)).limit(None)
            yield from (query.where(condition.sql) if condition else query).to_batches(BATCH_ROWS)

    def snapshot(self) -> Snapshot:
        """The store as it is now, whatever is written after."""
        table = self.table
        with lance_errors("read the store"):
            table.checkout(table.version)
        return Snapshot(table)

    def _schema_of(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = self.schema
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])

    def vectors(self, where: str | None = None) -> npt.NDArray[np.float32]:
        """Embeddings of the rows that meet a condition: float32 (N, D), raw, in the order of `rows`."""
        return vectors_of(self.rows(where, ["embedding"]))

    def search(
        self,
        text: str | None = None,
        *,
        like: str | Path | None = None,
        vector: npt.NDArray[np.float32] | None = None,
        top: int = 20,
        where: str | None = None,
        level: Level | str = Level.FRAME,
        diversity: float = 0.2,
        exact: bool = False,
        encoder: Encoder | None = None,
    ) -> pa.Table:
        """The rows most similar to a text, to a row (`like="UID#frame"`), to a picture or DICOM file, or to a vector (D,).

        Best first, with a column `similarity` (cosine); see `nearest` for level, diversity and exact. The row or series
        that was searched with is left out. encoder: the model that made the rows; loaded by its name where it is not given.
        Raises UsageError, FingerprintError or ModelError.
        """
        if sum(x is not None for x in (text, like, vector)) != 1 or top < 1:
            raise UsageError("search for one thing: a text, like=UID#frame or a file, or a vector; top at least 1")
        if not 0 <= diversity < 1:
            raise UsageError(f"diversity is {diversity}, expected 0 (by similarity alone) to below 1")
        rows = level_of(level)
        condition = self.condition(where)
        if like is not None and not Path(like).is_file():
            vector, condition = row_query(self.table, str(like), condition, rows)
        elif text is not None or like is not None:
            encoder = encoder or self.encoder()
            vector = encoder.encode_texts([text])[0] if text is not None else vector_of_file(Path(str(like)), encoder)
        assert vector is not None
        return nearest(
            self.table, vector, condition, top=top, level=rows, diversity=diversity, exact=exact
        ).drop_columns(["embedding"])

    def similar(self, study_instance_uid: str, *, top: int = 10, where: str | None = None) -> pa.Table:
        """The `top` studies most like a study as a whole, best first; see `most_similar`.

        Compared are the studies with the frames nearest to the mean of one of its series. where: which may be found.
        Raises UsageError where the store does not hold the study.
        """
        mine = self.rows(f"study_instance_uid = {quoted(study_instance_uid)}", STUDY_COLUMNS)
        if not mine.num_rows:
            raise UsageError("the store holds no embedding of this study")
        others = f"study_instance_uid != {quoted(study_instance_uid)}"
        condition = self.condition(f"({where}) AND {others}" if where else others)
        near: set[str] = set()
        for vector in series_vectors(mine)[:MAX_SERIES]:
            found = nearest(self.table, vector, condition, top=4 * top, level=Level.STUDY)
            near.update(found["study_instance_uid"].to_pylist())
        names = ", ".join(quoted(uid) for uid in sorted(near))
        rows = self.rows(f"study_instance_uid IN ({names})", STUDY_COLUMNS) if near else mine.slice(0, 0)
        return most_similar(mine, rows, top)

    def duplicates(self, where: str | None = None, *, threshold: float = 0.999) -> pa.Table:
        """Pairs of nearly equal rows of different series; see `neighbours.duplicates`."""
        rows = self.rows(where, neighbours.named_columns([]))
        return neighbours.duplicates(rows, vectors_of(rows), threshold=threshold)

    def outliers(
        self, where: str | None = None, *, top: int = 20, nearest_rows: int = 5, by: str | None = "modality"
    ) -> pa.Table:
        """Rows far from all rows of other series; see `neighbours.outliers`."""
        rows = self.rows(where, neighbours.named_columns([by] if by else []))
        return neighbours.outliers(rows, vectors_of(rows), neighbours=nearest_rows, top=top, by=by)

    def encoder(self, device: str = "auto") -> Encoder:
        """The model that made the rows. Raises ModelError or FingerprintError."""
        found = self.table.search().select(["encoder", "weights"]).limit(1).to_arrow().to_pylist()
        if not found:
            raise StoreError(f"the store {self.place} is empty")
        return encoder_of(found[0]["encoder"], found[0]["weights"], device=device)

    def compact(self, *, keep: timedelta = timedelta(hours=24), index_rows: int = INDEXED_ROWS) -> None:
        """Join small pieces, forget versions older than `keep`, bring indexes up to date or build them.

        What was removed or replaced is gone from the disk once no kept version holds it.
        """
        with self._writing(), lance_errors("compact the store"):
            for space in self.spaces():
                table = self._database.open_table(space)
                if not table.count_rows() and len(self.spaces()) > 1:
                    self._database.drop_table(space)
                    continue
                indexed = {column for index in table.list_indices() for column in index.columns}
                for column in SCALAR_INDEXES:
                    if column not in indexed and table.count_rows():
                        build_row_index(table, column)
                table.optimize(cleanup_older_than=max(keep, timedelta(milliseconds=1)))
                if "embedding" not in indexed and table.count_rows() >= index_rows:
                    build_vector_index(table)

    def info(self) -> list[dict[str, Any]]:
        """For each space: its name, dimension, rows, versions and whether a vector index is there."""
        found = []
        with lance_errors("describe the store"):
            for space in self.spaces():
                table = self._database.open_table(space)
                indexed = {column for index in table.list_indices() for column in index.columns}
                found.append(
                    {
                        "space": space.removeprefix("frames_"),
                        "dimension": int(table.schema.field("embedding").type.list_size),
                        "rows": int(table.count_rows()),
                        "versions": len(table.list_versions()),
                        "vector_index": "embedding" in indexed,
                    }
                )
        return found


def _space_of(weights: str) -> str:
    """The table of a model's vectors, by its weights' sha256."""
    return f"frames_{weights[:16]}"


def _chosen(spaces: Sequence[str], wanted: str | None, *, several: bool) -> str | None:
    names = [space.removeprefix("frames_") for space in spaces]
    if wanted is not None:
        found = [name for name in names if name.startswith(wanted[:16])]
        if len(found) != 1:
            raise UsageError(f"no single space {wanted!r} in the store; it has {', '.join(names) or 'none'}")
        return f"frames_{found[0]}"
    if len(names) > 1 and not several:
        raise UsageError(f"the store holds vectors of several models: choose one of {', '.join(names)} with --space")
    return spaces[0] if len(spaces) == 1 else None
