"""Cleaning a cohort: near-duplicates across series, and rows that lie far from all others.

Both compare every row with every other, exactly, in blocks: 20,000 rows of 1152 take some seconds, 100,000 some minutes.
Narrow larger stores with a condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.errors import UsageError
from dicom_pipeline.research.store.pooling import normalised

MAX_ROWS = 200_000
BLOCK = 1024
NAMED = ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "frame", "modality", "body_part")


def duplicates(rows: pa.Table, vectors: npt.NDArray[np.float32], *, threshold: float = 0.999) -> pa.Table:
    """Pairs of rows of different series with a cosine similarity of at least `threshold`, the most similar first.

    rows: NAMED columns; vectors: float32 (N, D) in the same order. Columns of the result: similarity, same_patient, and
    the NAMED columns twice, as first_* and second_*. Slices of one series are alike by nature and no pair.
    """
    series = _codes(rows, "series_instance_uid")
    pairs: list[tuple[float, int, int]] = []
    for start, similarity in _blocks(vectors):
        stop = start + len(similarity)
        similarity[series[start:stop, None] == series[None, :]] = -1
        for a, b in zip(*np.nonzero(similarity >= threshold), strict=True):
            if start + a < b:
                pairs.append((float(similarity[a, b]), start + int(a), int(b)))
        if len(pairs) > 1_000_000:
            raise UsageError(f"more than a million pairs are as similar as {threshold}: choose a higher threshold")
    pairs.sort(reverse=True)
    first, second = (rows.select(NAMED).take(pa.array([pair[i] for pair in pairs], pa.int64())) for i in (1, 2))
    patients = rows["patient_id"].to_pylist()
    same = [patients[a] is not None and patients[a] == patients[b] for _, a, b in pairs]
    made = {
        "similarity": pa.array([pair[0] for pair in pairs], pa.float32()),
        "same_patient": pa.array(same, pa.bool_()),
    }
    for prefix, side in (("first", first), ("second", second)):
        made |= {f"{prefix}_{name}": side[name] for name in NAMED}
    return pa.table(made)


def outliers(
    rows: pa.Table, vectors: npt.NDArray[np.float32], *, neighbours: int = 5, top: int = 20, by: str | None = "modality"
) -> pa.Table:
    """The `top` rows that lie farthest from their nearest neighbours, with columns `distance` and `deviation`.

    distance: mean of 1 - cosine to the nearest `neighbours` rows of other series (slices of one series vouch for one another).
    deviation: by how many median absolute deviations (scaled to the normal distribution) it exceeds the median of the rows
    of its group, the rows that agree in the column `by`.
    """
    series = _codes(rows, "series_instance_uid")
    distance = np.empty(len(vectors))
    for start, similarity in _blocks(vectors):
        stop = start + len(similarity)
        similarity[series[start:stop, None] == series[None, :]] = -np.inf
        nearest = np.sort(similarity, axis=1)[:, -neighbours:].astype(np.float64)
        nearest[~np.isfinite(nearest)] = np.nan
        distance[start:stop] = 1 - _means(nearest)
    groups = _codes(rows, by) if by else np.zeros(len(vectors), int)
    deviation = np.full(len(vectors), np.nan)
    for group in np.unique(groups):
        mine = distance[groups == group]
        middle = np.nanmedian(mine) if np.isfinite(mine).any() else np.nan
        spread = 1.4826 * np.nanmedian(np.abs(mine - middle)) if np.isfinite(middle) else np.nan
        deviation[groups == group] = (mine - middle) / (spread if spread > 0 else 1e-6)
    order = np.argsort(-np.nan_to_num(deviation, nan=-np.inf), kind="stable")[:top]
    found = rows.select([name for name in rows.column_names if name != "embedding"]).take(pa.array(order, pa.int64()))
    found = found.append_column("distance", pa.array(distance[order]))
    return found.append_column("deviation", pa.array(deviation[order]))


def _blocks(vectors: npt.NDArray[np.float32]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Cosines of some rows with all: the first row's index and float32 (rows, N)."""
    if len(vectors) > MAX_ROWS:
        raise UsageError(f"{len(vectors)} rows are too many to compare with one another: narrow them with --where")
    unit = normalised(vectors)
    for start in range(0, len(unit), BLOCK):
        yield start, unit[start : start + BLOCK] @ unit.T


def _means(nearest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Row means that leave NaN out; NaN where there is nothing else."""
    counts = np.isfinite(nearest).sum(axis=1)
    sums = np.nansum(nearest, axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _codes(rows: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """A number for each value of a column."""
    names: dict[object, int] = {}
    return np.array([names.setdefault(value, len(names)) for value in rows[column].to_pylist()], np.int64)


def named_columns(columns: Sequence[str]) -> list[str]:
    """What to read of a store for the functions above, and these columns beside."""
    return list(dict.fromkeys([*NAMED, "patient_id", "embedding", *columns]))
