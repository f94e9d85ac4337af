"""Where the results of a revision lie in the spool, and what the catalog says of it beside them: revision.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dicom_pipeline.disk import write_durably

RECORD_NAME = "revision.json"
"""Beside a revision's results: what the catalog says of it."""


def result_folder(study_instance_uid: str, number: int) -> Path:
    """Where a revision's results lie, relative to the spool folder; named by a hash, not by received text."""
    return Path("results") / hashlib.sha256(study_instance_uid.encode()).hexdigest()[:32] / f"r{number}"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a revision (catalog/records.py says what is in it) beside its results."""
    write_durably(folder / RECORD_NAME, json.dumps(record, indent=1).encode())
