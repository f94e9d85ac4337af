"""Colour frames to sRGB: palettes and ICC profiles (PS3.3 C.7.9, C.11.15)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from dicom_pipeline.dicom.attributes import integer_of, items_of, read_value
from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.decoding.frames import Stored
from dicom_pipeline.imaging.luts import palette_of
from dicom_pipeline.imaging.voi import stored_range


def is_colour(stored: Stored) -> bool:
    """Whether the frame holds colour samples or palette indices."""
    return stored.values.ndim == 3 or read_value(stored.dataset, "PhotometricInterpretation") == "PALETTE COLOR"


def to_srgb(stored: Stored) -> npt.NDArray[np.uint8]:
    """The frame as uint8 sRGB (rows, columns, 3). Raises InstanceError where it has no palette or odd samples."""
    values = stored.values
    if values.ndim == 2:
        tables = palette_of(stored.dataset, stored_range(stored), big_endian=not stored.little_endian)
        looked_up = np.stack([table.look_up(values) for table in tables], axis=-1)
        return _with_profile((looked_up >> max(tables[0].bits - 8, 0)).astype(np.uint8), stored)
    if values.shape[-1] != 3:
        raise InstanceError(Reason.UNSUPPORTED_PIXEL_FORMAT, f"{values.shape[-1]} samples a pixel")
    return _with_profile(_eight_bit(values, stored), stored)


def _eight_bit(values: npt.NDArray[Any], stored: Stored) -> npt.NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    bits = integer_of(stored.dataset, "BitsStored") or 16
    return (values >> max(bits - 8, 0)).astype(np.uint8)


def _with_profile(image: npt.NDArray[np.uint8], stored: Stored) -> npt.NDArray[np.uint8]:
    sources = (stored.dataset, *items_of(stored.dataset, "OpticalPathSequence")[:1])
    profile = next((found for source in sources if (found := read_value(source, "ICCProfile"))), None)
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(Image.fromarray(image), source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError) as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, "ICCProfile cannot be read") from error
    return np.asarray(converted)
