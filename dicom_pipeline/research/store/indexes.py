"""The indexes of a store's table: rows by UID, vectors by nearness."""

from __future__ import annotations

from typing import Any


def build_vector_index(table: Any) -> None:
    """An inverted file over cosine distance, lists of about 1,000 rows, with RaBitQ codes (Gao and Long 2024).

    Search computes the exact distance of the candidates that the codes find, so only membership is approximate. RaBitQ takes
    dimensions that are multiples of 8; others get one byte a dimension.
    """
    from lancedb.index import IvfRq, IvfSq

    rows, dimension = table.count_rows(), int(table.schema.field("embedding").type.list_size)
    kind = IvfRq if dimension % 8 == 0 else IvfSq
    lists = max(1, min(4096, rows // 1000))
    table.create_index(
        "embedding", config=kind(distance_type="cosine", num_partitions=lists, max_iterations=15, sample_rate=64)
    )


def build_row_index(table: Any, column: str) -> None:
    """A B-tree over a column, so that a study is found without reading all rows."""
    from lancedb.index import BTree

    table.create_index(column, config=BTree())
