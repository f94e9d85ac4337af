"""One version of a store's table, for readers that must not see a write half-way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dicom_pipeline.research.store.lance import lance_errors
from dicom_pipeline.research.store.where import HIDDEN, Condition

BATCH_ROWS = 4096
"""Rows whose vectors are in memory at once."""


class Snapshot:
    """One version of a store's table: rows first without their vectors, then vectors for as many rows as memory takes."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema

    def light(self, condition: Condition | None = None) -> pa.Table:
        """All columns but the vectors and scores, and `_rowid`, of the rows that meet a condition."""
        names = [name for name in self.schema.names if name not in HIDDEN]
        with lance_errors("read the store"):
            query = self._table.search().select(names).with_row_id(True).limit(None)
            return (query.where(condition.sql) if condition else query).to_arrow()

    def heavy(self, row_ids: Sequence[int], columns: Sequence[str] = ("embedding",)) -> pa.Table:
        """Vectors (or scores) of rows, in the order of their ids."""
        with lance_errors("read the store"):
            found = self._table.take_row_ids(list(row_ids)).select(list(columns)).with_row_id().to_arrow()
        places = np.argsort(found["_rowid"].to_numpy())
        order = places[np.searchsorted(found["_rowid"].to_numpy(), np.asarray(row_ids), sorter=places)]
        return found.drop_columns(["_rowid"]).take(order)
