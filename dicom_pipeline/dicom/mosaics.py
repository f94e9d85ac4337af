"""Siemens' mosaics: one image that holds the slices of a volume, as functional and diffusion MR come from software before XA.

Slices lie row by row in a square grid, which is empty behind the last. Their number is in (0019,xx0A) or in the CSA header;
Image Position (Patient) is of a plane as large as the whole grid about the first slice. Sources: Siemens' conformance
statements (private attributes); https://nipy.org/nibabel/dicom/dicom_mosaic.html (geometry).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import first_number, integer_of, numbers_of, private_value, read_value, texts_of
from dicom_pipeline.dicom.csa import csa_elements

MR_HEADER, CSA_HEADER = "SIEMENS MR HEADER", "SIEMENS CSA HEADER"
MAX_SLICES = 1024

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The grid of a mosaic: count slices of rows x columns pixels, `side` in a row."""

    count: int
    side: int
    rows: int
    columns: int

    def corner(self, number: int) -> tuple[int, int]:
        """First row and column of a slice, counted from 1."""
        row, column = divmod(number - 1, self.side)
        return row * self.rows, column * self.columns

    def area(self, number: int) -> tuple[slice, slice]:
        """Rows and columns of a slice within the image."""
        top, left = self.corner(number)
        return slice(top, top + self.rows), slice(left, left + self.columns)


def tiles_of(dataset: Dataset) -> Tiles | None:
    """The grid of a mosaic; None for any other image, and where the number of slices is not known or makes no grid."""
    words = {text.strip().upper() for text in texts_of(dataset, "ImageType")}
    if "MOSAIC" not in words or (integer_of(dataset, "NumberOfFrames") or 1) > 1:
        return None
    count = _count(dataset)
    rows, columns = integer_of(dataset, "Rows") or 0, integer_of(dataset, "Columns") or 0
    side = math.isqrt(count - 1) + 1 if 1 < count <= MAX_SLICES else 0
    if not side or rows < side or columns < side or rows % side or columns % side:
        return None
    return Tiles(count, side, rows // side, columns // side)


def mark_as_mosaic(dataset: Dataset, tiles: Tiles) -> None:
    """Give a data set with the image's Rows and Columns what `tiles_of` reads."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "MOSAIC"]
    dataset.private_block(0x0019, MR_HEADER, create=True).add_new(0x0A, "US", tiles.count)


def slice_points(dataset: Dataset, tiles: Tiles) -> list[Point]:
    """Image Position (Patient) of each slice, in mm; [] where the mosaic's geometry is missing."""
    position, cosines, spacing = (
        np.array(numbers_of(read_value(dataset, keyword), count))
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    steps = (first_number(read_value(dataset, keyword)) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    step = next((number for number in steps if number), 0)
    if not (position.size and cosines.size and spacing.size and step > 0):
        return []
    along_row, along_column = cosines[:3], cosines[3:]
    normal = np.cross(along_row, along_column)
    rows, columns = tiles.rows * (tiles.side - 1) / 2, tiles.columns * (tiles.side - 1) / 2
    first = position + along_row * spacing[1] * columns + along_column * spacing[0] * rows
    stated = _slice_normal(dataset)
    if stated is not None and float(np.dot(stated, normal)) < 0:
        normal = -normal
    points = first + np.outer(np.arange(tiles.count) * step, normal)
    return [(float(x), float(y), float(z)) for x, y, z in points]


def _count(dataset: Dataset) -> int:
    """How many slices the mosaic says it holds, 0 where it does not."""
    value = private_value(dataset, 0x0019, 0x0A, MR_HEADER)
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little")
    number = first_number(value)
    if number is None:
        number = first_number(next(iter(_csa(dataset).get("NumberOfImagesInMosaic", ())), None))
    return int(number) if number is not None and 0 < number <= MAX_SLICES else 0


def _slice_normal(dataset: Dataset) -> np.ndarray | None:
    """The direction in which slices follow one another, None where the CSA header does not say it."""
    numbers = numbers_of(_csa(dataset).get("SliceNormalVector"), 3)
    return np.array(numbers) if numbers else None


def _csa(dataset: Dataset) -> dict[str, list[str]]:
    raw = private_value(dataset, 0x0029, 0x10, CSA_HEADER)
    return csa_elements(raw) if isinstance(raw, bytes) else {}
