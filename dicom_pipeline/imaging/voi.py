"""Modality LUT, VOI LUT and photometric sense of one frame, as a point function of its stored values.

Sources: PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT and window functions), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.multival import MultiValue

from dicom_pipeline.dicom.attributes import integer_of, read_value
from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.decoding.frames import Stored
from dicom_pipeline.imaging.luts import LookupTable, table_of
from dicom_pipeline.imaging.windows import rescale

INTENSITY_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic Image Storage
    "1.2.840.10008.5.1.4.1.1.12.1.1",  # Enhanced XA Image Storage
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic Image Storage
    "1.2.840.10008.5.1.4.1.1.12.2.1",  # Enhanced XRF Image Storage
)
MAX_MAGNITUDE = 1e25
"""Largest slope, intercept or window that is accepted: times the largest stored value it must fit a float32."""


def modality_values(values: npt.NDArray[Any], stored: Stored) -> npt.NDArray[np.float32]:
    """Stored values through the Modality LUT or rescale, float32. Raises InstanceError on a senseless slope."""
    table = modality_lut(stored)
    if table is not None:
        return table.look_up(values).astype(np.float32)
    return rescale(values, *rescale_of(stored))


def has_modality_lut(stored: Stored) -> bool:
    """Whether the frame has a Modality LUT that is for display."""
    return stored.holder("ModalityLUTSequence") is not None and _is_for_display(stored)


def modality_lut(stored: Stored) -> LookupTable | None:
    """The Modality LUT of the frame; None where it has none that is for display."""
    holder = stored.holder("ModalityLUTSequence")
    if holder is None or not _is_for_display(stored):
        return None
    item = holder.ModalityLUTSequence[0]
    return table_of(item, stored_range(stored), big_endian=not stored.little_endian, name="ModalityLUTSequence")


def _is_for_display(stored: Stored) -> bool:
    """Whether modality values are for display: those of XA and XRF are X-ray intensities (PS3.3 C.8.7.1.1.2)."""
    return read_value(stored.dataset, "SOPClassUID") not in INTENSITY_CLASSES


def stored_range(stored: Stored) -> tuple[int, int]:
    """Lowest and highest value that the pixels can hold."""
    bits = integer_of(stored.dataset, "BitsStored") or stored.values.dtype.itemsize * 8
    signed = integer_of(stored.dataset, "PixelRepresentation") == 1
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def modality_range(stored: Stored) -> tuple[float, float]:
    """Lowest and highest modality value that the pixels can have."""
    table = modality_lut(stored)
    if table is not None:
        return float(table.entries.min()), float(table.entries.max())
    slope, intercept = rescale_of(stored)
    ends = sorted(value * slope + intercept for value in stored_range(stored))
    return ends[0], ends[1]


def rescale_of(stored: Stored) -> tuple[float, float]:
    """Slope and intercept that apply to the frame; 1 and 0 where there are none."""
    if not _is_for_display(stored):
        return 1.0, 0.0
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
        item = holder.VOILUTSequence[0]
        table = table_of(item, modality_range(stored), big_endian=not stored.little_endian, name="VOILUTSequence")
        looked_up = table.look_up(np.rint(values))
        return np.rint(looked_up / (2.0**table.bits - 1) * 255).astype(np.uint8)
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
    if width == 1 and function != "LINEAR_EXACT":  # a threshold
        return np.asarray(values > np.float32(centre - 0.5), np.float32)
    if function == "LINEAR_EXACT" or width < 1:
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
    low, high = (_as_stored(stored, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if low is None:
        return None
    return (low, low) if high is None else (min(low, high), max(low, high))


def _as_stored(stored: Stored, keyword: str) -> int | None:
    """A pixel value that an attribute (US or SS) names, in the sign of the pixels, whichever it was written with."""
    value = integer_of(stored.dataset, keyword)
    if value is None or stored.values.dtype.kind not in "iu":
        return value
    lowest, highest = stored_range(stored)
    if lowest <= value <= highest:
        return value
    allocated = stored.values.dtype.itemsize * 8
    whole = value % (1 << allocated)
    if stored.values.dtype.kind == "i" and whole >= 1 << (allocated - 1):
        whole -= 1 << allocated
    stored_bits = highest - lowest + 1
    masked = (value - lowest) % stored_bits + lowest  # bits above BitsStored are masked in the pixels too
    return whole if lowest <= whole <= highest else masked
