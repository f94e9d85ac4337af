"""Studies as wholes: one vector a study, and which studies are most like one. `nearest` compares single frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dicom_pipeline.research.store.pooling import Pooling, normalised
from dicom_pipeline.research.store.rows import vectors_of

STUDY_COLUMNS = ("study_instance_uid", "series_instance_uid", "embedding", "modality", "body_part")
"""What `most_similar` needs of a row."""

SCHEMA = pa.schema(
    {
        "study_instance_uid": pa.string(),
        "similarity": pa.float32(),
        "modalities": pa.list_(pa.string()),
        "body_parts": pa.list_(pa.string()),
        "frames": pa.int64(),
    }
)


def most_similar(mine: pa.Table, others: pa.Table, top: int) -> pa.Table:
    """The `top` studies of `others` most like the study of `mine`, best first, as SCHEMA has it.

    similarity: cosine of the studies' vectors (`study_vector`), -1 to 1; equal ones in the order of their UIDs.
    """
    wanted = study_vector(mine)
    places: dict[str, list[int]] = {}
    for index, uid in enumerate(others["study_instance_uid"].to_pylist()):
        places.setdefault(uid, []).append(index)
    found = []
    for uid, indices in places.items():
        rows = others.take(indices)
        similarity = float(np.clip(wanted @ study_vector(rows), -1, 1))
        modalities, body_parts = (sorted(set(filter(None, rows[c].to_pylist()))) for c in ("modality", "body_part"))
        found.append((uid, similarity, modalities, body_parts, rows.num_rows))
    found.sort(key=lambda study: (-study[1], study[0]))
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, study, strict=True)) for study in found[:top]], schema=SCHEMA)


def study_vector(rows: pa.Table) -> npt.NDArray[np.float32]:
    """float32 (D,) of length 1: the mean over series of the mean over frames, each vector normalised before (see pooling)."""
    return normalised(Pooling("mean").pool(series_vectors(rows))[None])[0]


def series_vectors(rows: pa.Table) -> npt.NDArray[np.float32]:
    """float32 (S, D): the pooled vector of each series, in the order of its first row."""
    series = np.array(rows["series_instance_uid"].to_pylist())
    vectors = vectors_of(rows)
    return np.stack([Pooling("mean").pool(vectors[series == uid]) for uid in dict.fromkeys(series.tolist())])
