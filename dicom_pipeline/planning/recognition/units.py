"""Whether the values of a CT are Hounsfield units, which a preset that windows in HU takes for granted.

Sources: PS3.3 C.8.2.1.1 (CT Image), C.11.1.1.2 (Rescale Type).
"""

from __future__ import annotations

from dicom_pipeline.dicom.attributes import first_number, integer_of, items_of
from dicom_pipeline.planning.geometry import LocatedFrame, first_frame
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.contrasts import image_type_of
from dicom_pipeline.planning.recognition.words import selection_terms


def not_hounsfield(header: Header) -> str:
    """Why the values of a CT image are not in HU; empty where they are, or are colours, or another modality's."""
    if header.modality != "CT" or (integer_of(header.dataset, "SamplesPerPixel") or 1) > 1:
        return ""
    frame = first_frame(header)
    return _named(frame) or _rescaled(frame)


def _named(frame: LocatedFrame) -> str:
    """A map by its words: Image Type, and the description of a derived image."""
    words, values = selection_terms(), image_type_of(frame)
    found = words.not_hounsfield.find_in(values[2:])
    if not found and values[:1] == ("DERIVED",):
        found = words.not_hounsfield.find(frame.header.text("SeriesDescription"))
    return f"a map ({found})" if found else ""


def _rescaled(frame: LocatedFrame) -> str:
    """What is wrong with the rescale to HU; empty where it can be one."""
    if any(items_of(holder, "ModalityLUTSequence") for holder in (*frame.functional, frame.header.dataset)):
        return ""
    intercept = first_number(frame.value("RescaleIntercept") or None)
    if intercept is None:
        return "no Rescale Intercept"
    stated = frame.value("RescaleType")
    if stated and not selection_terms().hounsfield_types.is_whole(stated):
        return "Rescale Type is not HU"
    unsigned = integer_of(frame.header.dataset, "PixelRepresentation") == 0
    derived = image_type_of(frame)[:1] == ("DERIVED",)
    doubtful = derived and stated.upper() in ("", "US") and unsigned and intercept >= 0
    return "derived, and no value can be below 0, as that of air is" if doubtful else ""
