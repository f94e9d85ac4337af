"""Which way a picture's edges look: L, R, A, P, H, F (PS3.3 C.7.6.1.1.1), from Image Orientation (Patient)."""

from __future__ import annotations

from typing import NamedTuple

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, texts_of

LETTERS = ("LR", "PA", "HF")
"""Towards greater and smaller x, y and z of the patient (PS3.3 C.7.6.2.1.1)."""
OBLIQUE = 0.35
"""From this share of a direction on, about 20 degrees, a second letter says that it is oblique."""
OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")


class Edges(NamedTuple):
    """The letters at a picture's edges."""

    left: str
    right: str
    top: str
    bottom: str


def edges_of(header: Dataset, frame: int) -> Edges | None:
    """The edges of a frame, from 1: by Image Orientation (Patient), else by Patient Orientation; None where both lack."""
    cosines = _cosines(header, frame)
    if cosines is not None:
        right, bottom = _letters(cosines[:3]), _letters(cosines[3:])
    else:
        stated = [text.strip().upper() for text in texts_of(header, "PatientOrientation")]
        if len(stated) != 2 or not all(text and set(text) <= set("LRAPHF") for text in stated):
            return None
        right, bottom = stated
    if not right or not bottom:
        return None
    return Edges(right.translate(OPPOSITE), right, bottom.translate(OPPOSITE), bottom)


def _cosines(header: Dataset, frame: int) -> list[float] | None:
    """Six direction cosines, of the frame's functional groups where the header itself has none."""
    frames = items_of(header, "PerFrameFunctionalGroupsSequence")
    groups = [*frames[frame - 1 : frame], *items_of(header, "SharedFunctionalGroupsSequence")]
    planes = [plane for group in groups for plane in items_of(group, "PlaneOrientationSequence")]
    for item in (header, *planes):
        texts = texts_of(item, "ImageOrientationPatient")
        try:
            values = [float(text) for text in texts]
        except ValueError:
            continue
        if len(values) == 6 and all(abs(value) <= 1.01 for value in values):
            return values
    return None


def _letters(direction: list[float]) -> str:
    """The letters of a direction, the nearest axis first."""
    shares = sorted(zip((abs(v) for v in direction), range(3), strict=True), key=lambda pair: (-pair[0], pair[1]))
    nearest = [axis for share, axis in shares[:2] if share >= OBLIQUE]
    return "".join(LETTERS[axis][direction[axis] < 0] for axis in nearest)
