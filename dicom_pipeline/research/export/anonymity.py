"""How many patients share what an export says of them: k-anonymity over its tags (Sweeney 2002)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa

QUASI_IDENTIFIERS = ("sex", "age_band", "modality", "body_part", "manufacturer", "model", "field_strength_t")
"""Tags that someone could know of a patient from elsewhere."""

SMALL = 5


def k_anonymity(table: pa.Table) -> dict[str, Any]:
    """For all quasi-identifiers together and each alone: k (patients in the smallest class) and patients in small classes.

    table: rows with `patient_id` and the tags. A patient's class is the set of values that the patient's rows have.
    """
    columns = [name for name in QUASI_IDENTIFIERS if name in table.column_names]
    values = {name: table[name].to_pylist() for name in columns}
    seen: dict[Any, dict[str, set[Any]]] = defaultdict(lambda: {name: set() for name in columns})
    for index, patient in enumerate(table["patient_id"].to_pylist()):
        for name in columns:
            seen[patient][name].add(values[name][index])
    classes = {
        patient: tuple(tuple(sorted(map(str, mine[name]))) for name in columns) for patient, mine in seen.items()
    }
    return {
        "over": columns,
        "patients": len(seen),
        **_classes(list(classes.values())),
        "alone": {name: _classes([c[i] for c in classes.values()]) for i, name in enumerate(columns)},
    }


def _classes(of_patients: list[Any]) -> dict[str, int]:
    sizes = Counter(of_patients).values()
    return {
        "k": min(sizes, default=0),
        "classes": len(sizes),
        "patients_alone": sum(size for size in sizes if size == 1),
        f"patients_in_classes_under_{SMALL}": sum(size for size in sizes if size < SMALL),
    }
