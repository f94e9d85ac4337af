"""Where the results of a revision lie in the spool."""

from __future__ import annotations

import hashlib
from pathlib import Path

RECORD_NAME = "revision.json"
"""Beside a revision's results: what the catalog says of it."""


def result_folder(study_instance_uid: str, number: int) -> Path:
    """Where a revision's results lie, relative to the spool folder; named by a hash, not by received text."""
    return Path("results") / hashlib.sha256(study_instance_uid.encode()).hexdigest()[:32] / f"r{number}"
