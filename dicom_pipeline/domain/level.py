"""The levels at which embeddings and scores are asked for."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """What one row, one vector or one score speaks of."""

    FRAME = "frame"
    INSTANCE = "instance"
    SERIES = "series"
    STUDY = "study"
