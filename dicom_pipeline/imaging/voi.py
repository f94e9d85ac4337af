"""Modality LUT, VOI LUT and photometric sense of one frame, as a point function of its stored values.

Sources: PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT and window functions), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi

from dicom_pipeline.dicom.attributes import MALFORMED, integer_of, read_value
from dicom_pipeline.dicom.warnings import quiet
from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.frames import Stored
from dicom_pipeline.imaging.windows import rescale

MAX_MAGNITUDE = 1e25
"""Largest slope, intercept or window that is accepted: times the largest stored value it must fit a float32."""


def modality_values(values: npt.NDArray[Any], stored: Stored) -> npt.NDArray[np.float32]:
    """Stored values through the Modality LUT or rescale, float32. Raises InstanceError on a senseless slope."""
    holder = stored.holder("ModalityLUTSequence")
    if holder is not None:
        with attribute("ModalityLUTSequence"):
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
    """The first value as a number of at most MAX_MAGNITUDE. Raises InstanceError where it is none."""
    if isinstance(value, MultiValue | list | tuple):
        value = value[0] if value else None
    if value is None:
        return default
    try:
        result = float(value)
    except (TypeError, ValueError) as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name} is not a number") from error
    if not abs(result) <= MAX_MAGNITUDE:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, f"{name} is not finite or beyond all measurements")
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
    return stored.holder("VOILUTSequence") is not None


def voi_grey(values: npt.NDArray[np.float32], stored: Stored) -> npt.NDArray[np.uint8] | None:
    """Modality values through the frame's own VOI LUT or first window to 0..255; None where it has neither."""
    holder = stored.holder("VOILUTSequence")
    if holder is not None:
        with attribute("VOILUTSequence"):
            looked_up = apply_voi(np.rint(values).astype(np.int32), holder).astype(np.float64)
            bits = int(holder.VOILUTSequence[0].LUTDescriptor[2])
        return np.rint(np.clip(looked_up / (2.0 ** min(bits, 16) - 1), 0, 1) * 255).astype(np.uint8)
    window = window_of(stored)
    if window is None:
        return None
    function = str(stored.find("VOILUTFunction") or "LINEAR")
    return np.rint(_windowed(values, *window, function) * np.float32(255)).astype(np.uint8)


@contextmanager
def attribute(name: str) -> Iterator[None]:
    """What pydicom raises of an attribute (or a lookup table) that is not as it should be, as InstanceError with its name."""
    try:
        with quiet():
            yield
    except MALFORMED as error:
        raise InstanceError(Reason.INVALID_ATTRIBUTE, name) from error


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
    shape = read_value(stored.dataset, "PresentationLUTShape")
    return read_value(stored.dataset, "PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def padding_range(stored: Stored) -> tuple[int, int] | None:
    """Lowest and highest stored value that stand for padding, None where the instance has none that is a number."""
    low, high = (integer_of(stored.dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if low is None:
        return None
    return (low, low) if high is None else (min(low, high), max(low, high))
