"""What kind of object an instance is, from its header alone: picture, localizer, dose page, derived, ...

Sources: PS3.4 B.5 (storage classes), PS3.3 C.7.6.1.1.2 and C.8.2.1 (Image Type).
"""

from __future__ import annotations

from pydicom.uid import UID

from dicom_pipeline.dicom.attributes import items_of, read_value
from dicom_pipeline.domain import Reason
from dicom_pipeline.planning.headers import Header

OWN_MANUFACTURER = "dicom_pipeline"
"""Manufacturer of everything that this pipeline makes."""

NOT_FOR_DISPLAY = {
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "label map segmentation",
    "1.2.840.10008.5.1.4.1.1.30": "parametric map",
    "1.2.840.10008.5.1.4.1.1.481.2": "dose grid",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.77.1.5.3": "stereometric relationship",
}

SECONDARY_CAPTURE_PREFIX = "1.2.840.10008.5.1.4.1.1.7"

PIXEL_MODULE = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")

DOSE_WORDS = ("dose", "protocol", "patient information", "exam summary", "screen save")

DERIVED_WORDS = {
    "MIP",
    "MINIP",
    "MPR",
    "PROJECTION IMAGE",
    "VOLUME",
    "3D",
    "ADC",
    "FA",
    "TRACEW",
    "SUBTRACTION",
}

PICTURES_AS_CAPTURES = ("CR", "DX", "MG", "US", "ES", "XC", "GM", "SM", "OP", "DM")
"""Modalities that older devices send as secondary captures."""

REFORMAT_WORDS = {"REFORMATTED", "MPR", "CSA MPR", "CURVED", "CPR"}


def exclusion_reason(header: Header, *, keep: frozenset[Reason] = frozenset()) -> tuple[Reason, str] | None:
    """Why this instance is not an input, with a detail; None where it is a picture to consider.

    keep: reasons that a rule lifts, for those who want (say) secondary captures.
    """
    for check in (_own, _no_image, _incomplete, _localizer, _page, _secondary, _derived, _mosaic):
        found = check(header)
        if found is not None and found[0] not in keep:
            return found
    return None


def image_type(header: Header) -> tuple[str, ...]:
    """Image Type's values in upper case."""
    return tuple(part.upper() for part in header.text("ImageType").split("\\") if part)


def _own(header: Header) -> tuple[Reason, str] | None:
    equipment = items_of(header.dataset, "ContributingEquipmentSequence")
    makers = {header.text("Manufacturer"), *(read_value(item, "Manufacturer") for item in equipment)}
    return (Reason.OWN_OBJECT, "") if OWN_MANUFACTURER in makers else None


def _no_image(header: Header) -> tuple[Reason, str] | None:
    if header.sop_class_uid in NOT_FOR_DISPLAY:
        return Reason.NOT_FOR_DISPLAY, NOT_FOR_DISPLAY[header.sop_class_uid]
    if not any(name in header.dataset for name in PIXEL_MODULE):
        if "Image Storage" in UID(header.sop_class_uid or "0").name:
            return Reason.NO_PIXEL_DATA, ""
        return Reason.NOT_AN_IMAGE, f"modality {header.modality or 'unknown'}"
    return None


def _incomplete(header: Header) -> tuple[Reason, str] | None:
    missing = [name for name in PIXEL_MODULE if read_value(header.dataset, name) is None]
    return (Reason.MISSING_ATTRIBUTE, ", ".join(missing)) if missing else None


def _localizer(header: Header) -> tuple[Reason, str] | None:
    return (Reason.LOCALIZER, "Image Type says so") if "LOCALIZER" in image_type(header) else None


def _page(header: Header) -> tuple[Reason, str] | None:
    text = f"{header.text('SeriesDescription')} {' '.join(image_type(header))}".lower()
    word = next((word for word in DOSE_WORDS if word in text), None)
    captured = header.sop_class_uid.startswith(SECONDARY_CAPTURE_PREFIX) or "SECONDARY" in image_type(header)
    return (Reason.DOSE_PAGE, word) if word and captured else None


def _secondary(header: Header) -> tuple[Reason, str] | None:
    if header.sop_class_uid.startswith(SECONDARY_CAPTURE_PREFIX) and header.modality not in PICTURES_AS_CAPTURES:
        return Reason.SECONDARY_CAPTURE, ""
    return (Reason.SECONDARY_CAPTURE, "Image Type SCREEN SAVE") if "SCREEN SAVE" in image_type(header) else None


def _derived(header: Header) -> tuple[Reason, str] | None:
    if header.modality not in ("CT", "MR", "PT"):
        return None
    values = image_type(header)
    word = next((word for word in values[2:] if word in REFORMAT_WORDS), None)
    if word:
        return Reason.REFORMAT, f"Image Type {word}"
    word = next((word for word in values[2:] if word in DERIVED_WORDS), None)
    return (Reason.DERIVED, f"Image Type {word}") if word else None


def _mosaic(header: Header) -> tuple[Reason, str] | None:
    return (Reason.MOSAIC, "Siemens mosaic") if "MOSAIC" in image_type(header) else None
