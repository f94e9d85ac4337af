"""The rows nearest to a vector: fetched from the database, grouped, and chosen so that they are not all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.domain import Level
from dicom_pipeline.research.store.lance import lance_errors
from dicom_pipeline.research.store.pooling import normalised
from dicom_pipeline.research.store.rows import vectors_of
from dicom_pipeline.research.store.where import Condition

GROUP = {Level.FRAME: None, Level.SERIES: "series_instance_uid", Level.STUDY: "study_instance_uid"}

PROBES = 40
"""Lists of the vector index that are read for a query."""

REFINE = 10
"""Of how many times the wanted rows the exact distance is computed, among those that the index found."""

MAX_CANDIDATES = 20_000


def nearest(
    table: Any,
    vector: npt.NDArray[np.float32],
    condition: Condition | None,
    *,
    top: int,
    level: Level = Level.FRAME,
    diversity: float = 0.0,
    exact: bool = False,
) -> pa.Table:
    """The `top` rows by cosine similarity, best first, with a column `similarity`; of a series or study its best frame.

    vector: float32 (D,). diversity: 0 ranks by similarity alone, towards 1 rows like those already chosen count less
    (maximal marginal relevance). exact: compare with every row even where there is an index.
    """
    wanted = top if level is Level.FRAME and diversity == 0 else max(200, 10 * top)
    while True:
        found = _candidates(table, vector, condition, wanted, exact=exact)
        grouped = _best_of(found, GROUP[level])
        series = grouped["series_instance_uid"].to_pylist()
        enough = len(set(series)) if diversity > 0 else len(series)
        if enough >= top or found.num_rows < wanted or wanted >= MAX_CANDIDATES:
            break
        wanted *= 4  # one large series filled them
    if diversity > 0 and grouped.num_rows:
        return grouped.take(diverse(grouped["similarity"].to_numpy(), vectors_of(grouped), series, top, diversity))
    return grouped.slice(0, top)


def _candidates(
    table: Any, vector: npt.NDArray[np.float32], condition: Condition | None, count: int, *, exact: bool
) -> pa.Table:
    with lance_errors("search the store"):
        query = table.search(vector, vector_column_name="embedding").distance_type("cosine").limit(count)
        query = query.bypass_vector_index() if exact else query.nprobes(PROBES).refine_factor(REFINE)
        if condition is not None:
            query = query.where(condition.sql, prefilter=True)
        found = query.to_arrow()
    similarity = pa.array(1 - found["_distance"].to_numpy().astype(np.float32))
    return found.drop_columns(["_distance"]).append_column("similarity", similarity)


def _best_of(found: pa.Table, column: str | None) -> pa.Table:
    """The first row of each group of rows that are best first."""
    if column is None:
        return found
    firsts: dict[str, int] = {}
    for index, value in enumerate(found[column].to_pylist()):
        firsts.setdefault(value, index)
    return found.take(pa.array(firsts.values(), pa.int64()))


def diverse(
    similarity: npt.NDArray[np.float32],
    vectors: npt.NDArray[np.float32],
    series: Sequence[str],
    top: int,
    diversity: float,
) -> list[int]:
    """Indices of up to `top` rows by maximal marginal relevance (Carbonell and Goldstein 1998), the best first.

    similarity: float32 (N,) to the query; vectors: float32 (N, D); series: of each row. Each step takes the row with the
    largest (1 - diversity) * relevance - diversity * likeness to the rows taken, where each row of the same series that
    was taken before the last adds 1 to the likeness, so that neighbouring slices do not fill a page. Texts are much less
    like images than images are like one another, so both terms are first scaled to 0..1 over the candidates.
    """
    unit = normalised(vectors)
    relevance = _scaled(np.asarray(similarity, np.float64))
    lowest = float(np.min(unit @ unit.mean(axis=0)))
    likeness = np.zeros(len(unit))
    names = np.asarray(series)
    before = np.zeros(len(unit))
    taken = [int(np.argmax(relevance))]
    while len(taken) < min(top, len(unit)):
        cosine = (unit @ unit[taken[-1]] - lowest) / max(1 - lowest, 1e-6)
        likeness = np.maximum(likeness, np.clip(cosine, 0, 1))
        before += names == names[taken[-1]]
        value = (1 - diversity) * relevance - diversity * (likeness + np.maximum(before - 1, 0))
        value[taken] = -np.inf
        taken.append(int(np.argmax(value)))
    return taken


def _scaled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.ones_like(values)
