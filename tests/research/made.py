"""Rows as the worker makes them, without a model: any number of patients, studies, series and frames."""

from datetime import date

import numpy as np
import pyarrow as pa

from dicom_pipeline.research.store.rows import row_schema

WEIGHTS = "ab" * 32


def made_rows(study="1.2.1", *, frames=4, series=1, dimension=16, revision=1, seed=0, weights=WEIGHTS, **columns):
    """Rows of one study; keyword columns replace the made values, one value for all rows or a list."""
    rng = np.random.default_rng(seed)
    count = frames * series
    which = [index // frames for index in range(count)]
    values = {
        "sop_instance_uid": [f"{study}.{w}.{i % frames}" for i, w in enumerate(which)],
        "series_instance_uid": [f"{study}.{w}" for w in which],
        "study_instance_uid": study,
        "frame": 1,
        "embedding": [list(v) for v in rng.normal(size=(count, dimension)).astype(np.float32)],
        "position_mm": [float(i % frames) for i in range(count)],
        "stack": 0,
        "preset": "ct-medgemma-report",
        "encoder": "phantom",
        "fingerprint": "f" * 64,
        "weights": weights,
        "revision": revision,
        "patient_id": f"PAT-{study}",
        "study_date": date(2025, 3, 4),
        "modality": "CT",
        "body_part": "CHEST",
        "sex": "F",
        "age_band": "50-59",
        "slice_thickness_mm": 1.5,
        "kvp": 120.0,
        "score_labels": [["Nodule", "Effusion"]] * count,
        "score_kinds": [["zero-shot-pair"] * 2] * count,
        "score_values": [[i / count, 0.25] for i in range(count)],
    } | columns
    schema = row_schema(dimension)
    full = {}
    for name in schema.names:
        value = values.get(name)
        full[name] = value if isinstance(value, list) else [value] * count
    return pa.table(full, schema=schema)
