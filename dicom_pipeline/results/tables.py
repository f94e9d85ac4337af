"""Embeddings as a table: what embeddings.parquet holds. docs/outputs.md describes the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydicom import Dataset

from dicom_pipeline.domain import Embedding, FrameDomain, FrameKey, Plan, Provenance, embedding_space
from dicom_pipeline.results.tags import NUMBER_TAGS, TEXT_TAGS, acquisition_tags, patient_of, study_date_of

EMBEDDINGS_SCHEMA_VERSION = "3"
READABLE_VERSIONS = ("2", "3")
"""Version 2 has no domain and domain_distance."""


def embeddings_schema(dimension: int) -> pa.Schema:
    """The columns of embeddings.parquet for vectors of a dimension."""
    fields = [
        pa.field("sop_instance_uid", pa.string(), nullable=False),
        pa.field("series_instance_uid", pa.string(), nullable=False),
        pa.field("study_instance_uid", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False),
        pa.field("position_mm", pa.float64()),
        pa.field("stack", pa.int32()),
        pa.field("preset", pa.string()),
        pa.field("encoder", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("weights", pa.string()),
        pa.field("space", pa.string()),
        pa.field("revision", pa.int32()),
        pa.field("patient_id", pa.string()),
        pa.field("study_date", pa.date32()),
        pa.field("domain", pa.string()),
        pa.field("domain_distance", pa.float64()),
    ]
    fields += [pa.field(column, pa.string()) for column in (*TEXT_TAGS, "age_band")]
    fields += [pa.field(column, pa.float64()) for column in NUMBER_TAGS]
    return pa.schema(fields, metadata={"dicom_pipeline.schema": EMBEDDINGS_SCHEMA_VERSION})


def embedding_table(
    embeddings: Sequence[Embedding],
    plan: Plan,
    headers: Mapping[str, Dataset],
    provenance: Provenance,
    dimension: int,
    revision: int = 1,
    domains: Mapping[FrameKey, FrameDomain] | None = None,
) -> pa.Table:
    """One row a frame, in the order of the embeddings. The vectors are raw: normalise before you compare them.

    domains: what the reference of the checkpoint says of frames.
    """
    judged = [(domains or {}).get(embedding.frame.key) for embedding in embeddings]
    presets = {series.series_instance_uid: series.preset for series in plan.series}
    vectors = np.stack([e.vector for e in embeddings]) if embeddings else np.zeros((0, dimension), np.float32)
    frames = [embedding.frame for embedding in embeddings]
    sources = [headers[frame.key.sop_instance_uid] for frame in frames]
    tags = [acquisition_tags(source) for source in sources]
    columns: dict[str, Any] = {
        "sop_instance_uid": [frame.key.sop_instance_uid for frame in frames],
        "series_instance_uid": [frame.series_instance_uid for frame in frames],
        "study_instance_uid": [plan.study_instance_uid] * len(frames),
        "frame": [frame.key.frame for frame in frames],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), dimension),
        "position_mm": [frame.position_mm for frame in frames],
        "stack": [frame.stack for frame in frames],
        "preset": [presets[frame.series_instance_uid] for frame in frames],
        "encoder": [provenance.encoder] * len(frames),
        "fingerprint": [provenance.fingerprint] * len(frames),
        "weights": [provenance.weights] * len(frames),
        "space": [
            embedding_space(provenance.weights, provenance.presets[presets[f.series_instance_uid]]) for f in frames
        ],
        "revision": [revision] * len(frames),
        "patient_id": [patient_of(source) for source in sources],
        "study_date": [study_date_of(source) for source in sources],
        "domain": [each.domain.value if each else None for each in judged],
        "domain_distance": [each.distance if each else None for each in judged],
    }
    columns |= {column: [tag[column] for tag in tags] for column in (*TEXT_TAGS, "age_band", *NUMBER_TAGS)}
    return pa.table(columns, schema=embeddings_schema(dimension))
