"""The indexes of a store's table: rows by UID, vectors by nearness."""

from __future__ import annotations

from typing import Any


def build_vector_index(table: Any) -> None:
    """An inverted-file index with product quantisation over cosine distance: lists of about 1,000 rows, 8 dimensions a byte.

    Search refines its candidates with the raw vectors, so distances are exact and only membership is approximate.
    """
    from lancedb.index import IvfPq

    rows, dimension = table.count_rows(), int(table.schema.field("embedding").type.list_size)
    pieces = next(d for d in (8, 6, 5, 4, 2, 1) if dimension % d == 0)
    lists = max(1, min(4096, rows // 1000))
    table.create_index(
        "embedding",
        config=IvfPq(distance_type="cosine", num_partitions=lists, num_sub_vectors=dimension // pieces),
    )


def build_row_index(table: Any, column: str) -> None:
    """A B-tree over a column, so that a study is found without reading all rows."""
    from lancedb.index import BTree

    table.create_index(column, config=BTree())
