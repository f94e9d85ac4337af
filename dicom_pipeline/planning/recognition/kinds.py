"""What kind of object an instance is, from its header alone: picture, localizer, dose page, derived, ...

Sources: PS3.4 B.5 (storage classes), PS3.3 C.7.6.1.1.2 and C.8.2.1 (Image Type).
"""

from __future__ import annotations

from pydicom.uid import UID

from dicom_pipeline.dicom.attributes import first_number, items_of, private_value, read_value, texts_of
from dicom_pipeline.dicom.own_objects import MANUFACTURER
from dicom_pipeline.domain import Reason
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.words import selection_terms

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

PICTURES_AS_CAPTURES = ("CR", "DX", "MG", "US", "ES", "XC", "GM", "SM", "OP", "DM")
"""Modalities that older devices send as secondary captures."""

IMAGE_TYPE_MODALITIES = ("CT", "MR", "PT")
"""Modalities whose Image Type is read for projections, maps and reformats."""

LARGEST_FIELD_MM = 700.0
"""No scanner's field of view is wider; a mosaic, whose pixels keep their size, seems to be."""


def exclusion_reason(header: Header, *, keep: frozenset[Reason] = frozenset()) -> tuple[Reason, str] | None:
    """Why this instance is not an input, with a detail; None where it is a picture to consider.

    keep: reasons that a rule lifts, for those who want (say) secondary captures.
    """
    for check in CHECKS:
        found = check(header)
        if found is not None and found[0] not in keep:
            return found
    return None


def image_type(header: Header) -> tuple[str, ...]:
    """Image Type's values in upper case; empty ones keep their place."""
    return tuple(part.strip().upper() for part in header.text("ImageType").split("\\"))


def _own(header: Header) -> tuple[Reason, str] | None:
    equipment = items_of(header.dataset, "ContributingEquipmentSequence")
    makers = {header.text("Manufacturer"), *(read_value(item, "Manufacturer") for item in equipment)}
    return (Reason.OWN_OBJECT, "") if MANUFACTURER in makers else None


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


def _quality_control(header: Header) -> tuple[Reason, str] | None:
    """A phantom: Quality Control Image (PS3.3 C.7.6.1) or Quality Control Subject (C.7.1.1). BOTH shows a patient too."""
    for keyword in ("QualityControlImage", "QualityControlSubject"):
        if header.text(keyword).upper() == "YES":
            return Reason.QUALITY_CONTROL, f"{keyword} YES"
    return None


def _patient_label(header: Header) -> tuple[Reason, str] | None:
    """A slide's label or overview, a captured form: PS3.3 C.8.12.4.1.1 (Image Type), C.7.6.1 (Burned In Annotation).

    Burned In Annotation says nothing of other modalities: each ultrasound frame has some.
    """
    words = selection_terms()
    if header.modality not in words.label_modalities:
        return None
    flavours = image_type(header)[2:]
    if found := words.label_image_types.find_in(flavours):
        return Reason.PATIENT_LABEL, f"Image Type {found}"
    for keyword in ("SpecimenLabelInImage", "BurnedInAnnotation"):
        if header.text(keyword).upper() == "YES":
            return Reason.PATIENT_LABEL, f"{keyword} YES"
    named = words.label_names.find(header.text("SeriesDescription"))
    return (Reason.PATIENT_LABEL, f"named {named.lower()}") if named else None


def _page(header: Header) -> tuple[Reason, str] | None:
    """A dose report, protocol or saved screen: a capture or secondary image that is called so."""
    captured = header.sop_class_uid.startswith(SECONDARY_CAPTURE_PREFIX) or "SECONDARY" in image_type(header)
    if not captured:
        return None
    words, texts = selection_terms(), (header.text("SeriesDescription"), *image_type(header))
    found = words.page_names.find_in(texts)
    if not found and not header.text("ImagePositionPatient"):
        found = words.weak_page_names.find_in(texts)
    return (Reason.DOSE_PAGE, found.lower()) if found else None


def _secondary(header: Header) -> tuple[Reason, str] | None:
    if header.sop_class_uid.startswith(SECONDARY_CAPTURE_PREFIX) and header.modality not in PICTURES_AS_CAPTURES:
        return Reason.SECONDARY_CAPTURE, ""
    return (Reason.SECONDARY_CAPTURE, "Image Type SCREEN SAVE") if "SCREEN SAVE" in image_type(header) else None


def _by_image_type(header: Header) -> tuple[Reason, str] | None:
    """What a word in value 3 or beyond says: a map, a projection, a reformat; see data/selection.toml."""
    found = selection_terms().image_type_reason(image_type(header))
    applies = found is not None and (found[0] is Reason.LOCALIZER or header.modality in IMAGE_TYPE_MODALITIES)
    return found if applies else None


def _mosaic(header: Header) -> tuple[Reason, str] | None:
    """A Siemens mosaic that cannot be split into its slices: one frame that is called so and has a mosaic's marks.

    Enhanced objects of newer software carry the word too, and hold one slice a frame.
    """
    if "MOSAIC" not in image_type(header) or header.frames > 1:
        return None
    mark = _mosaic_mark(header)
    return (Reason.MOSAIC, f"Siemens mosaic that cannot be split: {mark}") if mark else None


def _mosaic_mark(header: Header) -> str:
    """What shows that one image holds many slices; empty where nothing does.

    Source: Siemens private (0019,100A) NumberOfImagesInMosaic; PS3.3 C.8.3.1 (Acquisition Matrix), C.7.6.2 (spacing).
    """
    tiles = first_number(private_value(header.dataset, 0x0019, 0x0A, "SIEMENS MR HEADER"))
    if tiles is not None and tiles > 1:
        return f"{tiles:.0f} slices"
    rows, columns = header.number("Rows") or 0.0, header.number("Columns") or 0.0
    acquired = [number for text in texts_of(header.dataset, "AcquisitionMatrix") if (number := first_number(text))]
    if acquired and min(rows, columns) >= 2 * max(acquired):
        return f"{rows:.0f} rows of {max(acquired):.0f} acquired ones"
    spacing = header.number("PixelSpacing") or 0.0
    return f"a field of {rows * spacing:.0f} mm" if rows * spacing > LARGEST_FIELD_MM else ""


CHECKS = (_own, _no_image, _incomplete, _quality_control, _page, _patient_label, _secondary, _by_image_type, _mosaic)
"""In the order in which they are tried: the first that holds is the reason."""
