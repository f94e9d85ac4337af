"""The levels at which embeddings and scores are asked for."""

from __future__ import annotations

from enum import StrEnum

from dicom_pipeline.errors import UsageError


class Level(StrEnum):
    """What one row, one vector or one score speaks of."""

    FRAME = "frame"
    INSTANCE = "instance"
    SERIES = "series"
    STUDY = "study"


ROW_LEVELS = (Level.FRAME, Level.SERIES, Level.STUDY)
"""Levels of the rows of a search or an export."""

PROBE_LEVELS = (Level.FRAME, Level.SERIES)
"""Levels of the rows that a probe is fitted on."""


def level_of(name: str, allowed: tuple[Level, ...] = ROW_LEVELS) -> Level:
    """The level of a name, where it is one of those that are allowed. Raises UsageError."""
    if name not in allowed:
        raise UsageError(f"level {name!r}: expected {', '.join(allowed[:-1])} or {allowed[-1]}")
    return Level(name)
