"""What Google's public MedSigLIP serving container does with CT and CR/DX, its quirks included.

Source: google-health/medsiglip, python/ (October 2025): one grey window for CT (centre 100, width 2500 where the object
has none), each radiograph stretched over its own range, VOI LUT Sequence ignored, then the Hugging Face processor's
bicubic resize through 8-bit PIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut

from dicom_pipeline.dicom.attributes import read_value
from dicom_pipeline.domain import IMAGE_SIZE, InstanceError, Pixels, Reason
from dicom_pipeline.imaging.frames import Stored
from dicom_pipeline.imaging.voi import attribute, number

MODALITIES = ("CT", "CR", "DX")


def render(stored: Stored) -> Pixels:
    """Decoded values -> uint8 (448, 448, 3). Raises InstanceError for what the container refuses."""
    modality = str(read_value(stored.dataset, "Modality"))
    if modality not in MODALITIES or stored.values.ndim != 2:
        raise InstanceError(Reason.UNSUPPORTED_PIXEL_FORMAT, f"the serving container takes no {modality} like this")
    unit = _ct(stored) if modality == "CT" else _radiograph(stored)
    grey = Image.fromarray((unit * 255).astype(np.uint8))
    rgb = grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.repeat(np.asarray(rgb)[:, :, None], 3, axis=2))


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
    with attribute("ModalityLUTSequence or Rescale Slope"):
        values = np.asarray(apply_modality_lut(stored.values, stored.dataset))
    window = _scalar_window(stored)
    if window is not None:
        values = _to_uint16(values, *window).astype(np.uint16)
    elif values.dtype.kind == "f":
        values = values.astype(stored.values.dtype)
    most = float(np.iinfo(values.dtype).max if values.dtype.kind == "u" else np.iinfo(f"u{values.dtype.itemsize}").max)
    result = values.astype(np.float64)
    if values.dtype != np.uint8:
        low, high = result.min(), result.max()
        result = np.round((result - low) / (high - low) * most) if high > low else np.zeros_like(result)
    if read_value(stored.dataset, "PhotometricInterpretation") == "MONOCHROME1":
        result = result.max() - result
    return result / most
