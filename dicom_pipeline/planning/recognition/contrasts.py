"""What tells frames of one place apart: b-value, trace, echo, component of the complex image, map or picture.

Sources: PS3.3 C.8.13.5.9 (MR Diffusion), C.8.13.3.1.1 (Complex Image Component), C.8.13.5.2 (Echo Time); vendors' conformance
statements for the private attributes.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from dicom_pipeline.dicom.attributes import first_number, private_value
from dicom_pipeline.domain import Reason
from dicom_pipeline.planning.geometry import LocatedFrame
from dicom_pipeline.planning.recognition.words import selection_terms

PRIVATE_B_VALUES = (
    (0x0019, 0x0C, "SIEMENS MR HEADER"),
    (0x2001, 0x03, "Philips Imaging DD 001"),
    (0x0043, 0x39, "GEMS_PARM_01"),
    (0x0065, 0x09, "Image Private Header"),  # United Imaging
)
GE_OFFSET = 1e9
"""GE adds this to some b-values."""

MAX_B_VALUE = 100_000.0

GE_COMPONENTS = {0.0: "magnitude", 1.0: "phase", 2.0: "real", 3.0: "imaginary"}
"""Private (0043,102F) of GEMS_PARM_01."""

COMPONENTS = {"M": "magnitude", "P": "phase", "R": "real", "I": "imaginary"}
"""By the first letter of a value of Image Type that is this letter, or this letter and a sequence: M, M_FFE, P."""


def b_value(frame: LocatedFrame) -> float | None:
    """Diffusion weighting in s/mm2; None where the frame states none, or is no MR."""
    if frame.header.modality != "MR":
        return None
    stated = first_number(frame.value("DiffusionBValue") or None)
    if stated is None:
        values = (_plain_number(private_value(frame.header.dataset, *where)) for where in PRIVATE_B_VALUES)
        stated = next((value for value in values if value is not None), None)
    if stated is None:
        named = re.search(r"(?:^|_)b(\d{1,5})(?!\d)", frame.value("SequenceName") or frame.value("PulseSequenceName"))
        stated = float(named[1]) if named else None
    if stated is not None and stated >= GE_OFFSET:
        stated -= GE_OFFSET
    return stated if stated is not None and 0 <= stated <= MAX_B_VALUE else None


def _plain_number(value: Any) -> float | None:
    """A private value as a number, also where it came without a VR: as text or as a little-endian float."""
    if isinstance(value, bytes):
        text = value.rstrip(b"\0 ").split(b"\\")[0]
        if not re.fullmatch(rb"[-+.\deE ]+", text):
            form = {8: "<d", 4: "<f"}.get(len(value))
            return float(struct.unpack(form, value)[0]) if form else None
        value = text.decode("ascii")
    return first_number(value)


def image_type_of(frame: LocatedFrame) -> tuple[str, ...]:
    """The values of Frame Type, else of Image Type, in upper case."""
    text = frame.value("FrameType") or frame.header.text("ImageType")
    return tuple(part.strip().upper() for part in text.split("\\"))


def is_trace(frame: LocatedFrame) -> bool:
    """Whether a diffusion frame is weighted by the trace of the directions and not by one direction."""
    if frame.value("DiffusionDirectionality").upper() == "ISOTROPIC":
        return True
    if any(selection_terms().trace.find(value) for value in image_type_of(frame)[2:]):
        return True
    if private_value(frame.header.dataset, 0x2001, 0x04, "Philips Imaging DD 001") in ("I", b"I ", b"I"):
        return True
    return re.search(r"_b\d+t", frame.value("SequenceName")) is not None


def component(frame: LocatedFrame) -> str:
    """Which part of the complex image it is: magnitude, phase, real or imaginary; empty where it does not say, or is no MR."""
    if frame.header.modality != "MR":
        return ""
    stated = frame.value("ComplexImageComponent").lower()
    if stated in COMPONENTS.values():
        return stated
    for value in image_type_of(frame)[2:]:
        first = re.match(r"([MPRI])(_|$)", value)
        if first:
            return COMPONENTS[first[1]]
        if selection_terms().phase.find(value):
            return "phase"
    number = _plain_number(private_value(frame.header.dataset, 0x0043, 0x2F, "GEMS_PARM_01"))
    return GE_COMPONENTS.get(number, "") if number is not None else ""


def echo(frame: LocatedFrame) -> str:
    """Which echo it is: its time in ms to a tenth, else its number; empty where it states neither."""
    time = first_number(frame.value("EffectiveEchoTime") or None) or first_number(frame.value("EchoTime") or None)
    return f"{time:.1f} ms" if time is not None else frame.value("EchoNumbers")


def image_type_reason(frame: LocatedFrame) -> tuple[Reason, str] | None:
    """What a word in the Frame Type or Image Type of a frame says of it: a map, a projection, a reformat."""
    return selection_terms().image_type_reason(image_type_of(frame))
