"""What DICOM calls study, series, instance and frame, and a study as it stood when it was processed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # the command line lists and counts without loading numpy
    import numpy as np
    import numpy.typing as npt

IMAGE_SIZE = 448
"""Rows and columns of every rendering, the input size of MedSigLIP."""


Pixels: TypeAlias = "npt.NDArray[np.uint8]"
"""uint8 array of shape (448, 448, 3): one rendering."""


Vector: TypeAlias = "npt.NDArray[np.float32]"
"""float32 array of shape (D,): one embedding as the model gave it, not normalised."""


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """Names one frame anywhere: SOP Instance UID and frame number (from 1); of a mosaic, the number of the slice in it."""

    sop_instance_uid: str
    frame: int = 1


@dataclass(frozen=True, slots=True)
class ImageTraits:
    """What an image says of itself that decides which labels apply to it; "" and None where it does not say.

    description: series, protocol, study and requested procedure description, a line each. view: View Position, else the
    meaning of the View Code. laterality: L, R, B or U. age_years: completed years.
    """

    modality: str
    body_part: str = ""
    description: str = ""
    view: str = ""
    laterality: str = ""
    age_years: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that is, or could be, an input of the model, with where it lies.

    position_mm: distance along the slice normal in mm, None where the geometry is missing.
    stack: which stack of its series (orientation, echo, time point ...) it belongs to, from 0.
    traits: of its image; None where they were not read, then every label applies.
    """

    key: FrameKey
    path: Path
    series_instance_uid: str
    position_mm: float | None = None
    stack: int = 0
    traits: ImageTraits | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """The pixels that the encoder gets for one frame: uint8 array (448, 448, 3)."""

    frame: Frame
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one frame: float32 array (D,), not normalised."""

    frame: Frame
    vector: Vector


@dataclass(frozen=True, slots=True)
class Revision:
    """A study as it stood when it was processed.

    instances: SOP Instance UID -> sha256 (hex) of the instance as received.
    predecessor: SOP Instance UID of the report of the revision before, where there is one.
    predecessor_class: SOP Class UID of that report; None where it is not known, then it is taken to be the new one's.
    """

    study_instance_uid: str
    number: int
    created_at: datetime
    instances: Mapping[str, str]
    predecessor: str | None = None
    predecessor_class: str | None = None


def short_uid(uid: str) -> str:
    """The form in which a UID may stand in a log line: its last 12 characters after an ellipsis."""
    return uid if len(uid) <= 13 else "…" + uid[-12:]
