"""Modality LUT, VOI LUT and photometric sense of one frame, as a point function of its stored values.

Sources: PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT and window functions), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi

from dicom_pipeline.domain import Reason
from dicom_pipeline.errors import InstanceError
from dicom_pipeline.imaging.frames import Stored
from dicom_pipeline.imaging.windows import rescale


def modality_values(values: npt.NDArray[Any], stored: Stored) -> npt.NDArray[np.float32]:
    """Stored values through the Modality LUT or rescale, float32. Raises InstanceError on a senseless slope."""
    holder = stored.holder("ModalityLUTSequence")
    if "ModalityLUTSequence" in holder:
        return np.asarray(apply_modality_lut(values, holder)).astype(np.float32)
    slope, intercept = rescale_of(stored)
    return rescale(values, slope, intercept)


def rescale_of(stored: Stored) -> tuple[float, float]:
    """Slope and intercept that apply to the frame; 1 and 0 where there are none."""
    slope = number(stored.find("RescaleSlope"), 1.0, "RescaleSlope")
    intercept = number(stored.find("RescaleIntercept"), 0.0, "RescaleIntercept")
    if slope == 0.0:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, "RescaleSlope is zero")
    return slope, intercept


def number(value: Any, default: float, name: str) -> float:
    """The first value as a finite number. Raises InstanceError where it is none."""
    if isinstance(value, MultiValue | list | tuple):
        value = value[0] if value else None
    if value is None:
        return default
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name} is no number") from error
    if not np.isfinite(result):
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name} is not finite")
    return result


def window_of(stored: Stored) -> tuple[float, float] | None:
    """Centre and width of the frame's first window, None where it has none or its width is not positive."""
    centre, width = stored.find("WindowCenter"), stored.find("WindowWidth")
    if centre is None or width is None:
        return None
    pair = number(centre, 0.0, "WindowCenter"), number(width, 0.0, "WindowWidth")
    return pair if pair[1] > 0 else None


def has_voi_lut(stored: Stored) -> bool:
    """Whether the frame carries a VOI LUT Sequence, which then goes before a window."""
    return "VOILUTSequence" in stored.holder("VOILUTSequence")


def voi_grey(values: npt.NDArray[np.float32], stored: Stored) -> npt.NDArray[np.uint8] | None:
    """Modality values through the frame's own VOI LUT or first window to 0..255; None where it has neither."""
    if has_voi_lut(stored):
        holder = stored.holder("VOILUTSequence")
        table = holder.VOILUTSequence[0]
        looked_up = apply_voi(np.rint(values).astype(np.int32), holder).astype(np.float64)
        bits = int(table.LUTDescriptor[2])
        return np.rint(np.clip(looked_up / (2.0 ** min(bits, 16) - 1), 0, 1) * 255).astype(np.uint8)
    window = window_of(stored)
    if window is None:
        return None
    function = str(stored.find("VOILUTFunction") or "LINEAR")
    return np.rint(_windowed(values, *window, function) * np.float32(255)).astype(np.uint8)


def _windowed(values: npt.NDArray[np.float32], centre: float, width: float, function: str) -> npt.NDArray[np.float32]:
    """Window functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, to 0..1."""
    if function == "SIGMOID":
        exponent = np.clip(np.float32(-4) * (values - np.float32(centre)) / np.float32(width), -80, 80)
        return np.asarray(1 / (1 + np.exp(exponent)), np.float32)
    if function == "LINEAR_EXACT" or width < 1 + 1e-6:
        shifted = (values - np.float32(centre)) / np.float32(width) + np.float32(0.5)
    else:
        shifted = (values - np.float32(centre - 0.5)) / np.float32(width - 1) + np.float32(0.5)
    return np.asarray(np.clip(shifted, 0, 1), np.float32)


def is_inverted(stored: Stored) -> bool:
    """Whether low values are white: MONOCHROME1, or Presentation LUT Shape INVERSE."""
    shape = str(stored.dataset.get("PresentationLUTShape") or "")
    return stored.dataset.get("PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def padding_range(stored: Stored) -> tuple[int, int] | None:
    """Lowest and highest stored value that stand for padding, None where the instance has none."""
    low = stored.dataset.get("PixelPaddingValue")
    if low in (None, "") or isinstance(low, bytes):
        return None
    high = stored.dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(low), int(high if high not in (None, "") and not isinstance(high, bytes) else low)))
    return ends[0], ends[1]
