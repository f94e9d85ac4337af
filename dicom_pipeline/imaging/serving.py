"""What Google's public MedSigLIP serving container does with DICOM images, its quirks included.

Source: google-health/medsiglip, python/ (October 2025): one grey window for CT (centre 100, width 2500 where the object
has none), each radiograph stretched over its own range, VOI LUT Sequence ignored, photographs and microscopy as they are
stored; zeros around to a square, then the Hugging Face processor's bicubic resize through 8-bit PIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.multival import MultiValue

from dicom_pipeline.dicom.attributes import read_value
from dicom_pipeline.domain import IMAGE_SIZE, InstanceError, Pixels, Reason
from dicom_pipeline.imaging.decoding.frames import Stored
from dicom_pipeline.imaging.resize import pad
from dicom_pipeline.imaging.voi import modality_lut, number

RADIOGRAPHS = ("CR", "DX")
AS_STORED = ("GM", "SM", "XC")


def render(stored: Stored) -> Pixels:
    """Decoded values -> uint8 (448, 448, 3). Raises InstanceError for what the container refuses."""
    image = _padded(_unit(stored))
    eight = Image.fromarray((image * 255).astype(np.uint8))
    rgb = np.asarray(eight.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(rgb if rgb.ndim == 3 else np.repeat(rgb[:, :, None], 3, axis=2))


def _unit(stored: Stored) -> npt.NDArray[np.float64]:
    """Values from 0 to 1: the container's array divided by the maximum of its type."""
    modality = str(read_value(stored.dataset, "Modality"))
    if modality in AS_STORED:
        return _as_stored(stored)
    if modality != "CT" and modality not in RADIOGRAPHS:
        raise InstanceError(Reason.UNSUPPORTED_PIXEL_FORMAT, f"the serving container takes no {modality} images")
    if stored.values.ndim != 2:
        raise InstanceError(
            Reason.UNSUPPORTED_PIXEL_FORMAT, f"the serving container takes no {modality} images in colour"
        )
    return _ct(stored) if modality == "CT" else _radiograph(stored)


def _padded(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    side = max(image.shape[:2])
    return pad(image, side, side)


def _as_stored(stored: Stored) -> npt.NDArray[np.float64]:
    values = stored.values
    if values.dtype.kind != "u" or (values.ndim == 3 and values.shape[2] != 3):
        raise InstanceError(Reason.UNSUPPORTED_PIXEL_FORMAT, "the serving container takes unsigned grey or RGB samples")
    return values.astype(np.float64) / np.iinfo(values.dtype).max


def _scalar_window(stored: Stored) -> tuple[float, float] | None:
    centre, width = (read_value(stored.dataset, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or isinstance(centre, MultiValue) or isinstance(width, MultiValue):
        return None
    return number(centre, 0.0, "WindowCenter"), number(width, 0.0, "WindowWidth")


def _to_uint16(values: npt.NDArray[Any], centre: float, width: float) -> npt.NDArray[np.float64]:
    low, high = centre - width // 2, centre + width // 2
    return np.asarray(np.round(np.interp(np.clip(values, low, high), (low, high), (0, 65535))))


def _ct(stored: Stored) -> npt.NDArray[np.float64]:
    slope, intercept = (read_value(stored.dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if (slope is None) != (intercept is None):
        raise InstanceError(Reason.MISSING_ATTRIBUTE, "one of RescaleSlope and RescaleIntercept")
    values = stored.values.astype(np.float64)
    if slope is not None:
        values = values * number(slope, 1.0, "RescaleSlope") + number(intercept, 0.0, "RescaleIntercept")
    scaled = _to_uint16(values, *(_scalar_window(stored) or (100.0, 2500.0)))
    if read_value(stored.dataset, "PhotometricInterpretation") == "MONOCHROME1":
        scaled = 65535 - scaled
    return scaled / 65535


def _radiograph(stored: Stored) -> npt.NDArray[np.float64]:
    values = _modality_values(stored)
    window = _scalar_window(stored)
    if window is not None:
        values = _to_uint16(values, *window).astype(np.uint16)
    elif values.dtype.kind == "f":
        values = values.astype(stored.values.dtype)
    most = np.iinfo(f"u{values.dtype.itemsize}").max
    unsigned = values if values.dtype == np.uint8 else _stretched(values, float(most))
    if read_value(stored.dataset, "PhotometricInterpretation") == "MONOCHROME1":
        unsigned = most - unsigned
    return unsigned.astype(np.float64) / most


def _modality_values(stored: Stored) -> npt.NDArray[Any]:
    """pydicom's Modality LUT: entries as unsigned integers, a rescale as float64, stored values where there is neither."""
    table = modality_lut(stored)
    if table is not None:
        looked_up = table.look_up(stored.values)
        return looked_up.astype(np.uint8) if table.bits <= 8 else looked_up
    slope, intercept = (read_value(stored.dataset, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None or intercept is None:
        return stored.values
    return stored.values.astype(np.float64) * number(slope, 1.0, "RescaleSlope") + number(
        intercept, 0.0, "RescaleIntercept"
    )


def _stretched(values: npt.NDArray[Any], most: float) -> npt.NDArray[Any]:
    """Values from their own lowest and highest to 0 and `most`, truncated."""
    wide = values.astype(np.float64)
    low, high = wide.min(), wide.max()
    if not high > low:
        return np.zeros(values.shape, f"u{values.dtype.itemsize}")
    return np.interp(wide, (low, high), (0, most)).astype(f"u{values.dtype.itemsize}")
