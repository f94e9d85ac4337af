"""RENDER: stored pixels of one frame -> uint8 (448, 448, 3), bit-exact to a named preset.

limits (what a frame may cost), fragments (which bytes are a frame), frames (decode one), luts, windows and voi (values to
grey), colour (to sRGB), resize (square and shrink), presets (recipes in data/presets), jpeg12 (12-bit JPEG), serving
(Google's container), render (fast path), sheet.
"""

from dicom_pipeline.imaging.limits import Limits
from dicom_pipeline.imaging.presets import Preset, list_presets, load_preset
from dicom_pipeline.imaging.render import SeriesRenderer, content_of
from dicom_pipeline.imaging.sheet import contact_sheet, stack_sheets

__all__ = [
    "Limits",
    "Preset",
    "SeriesRenderer",
    "contact_sheet",
    "content_of",
    "list_presets",
    "load_preset",
    "stack_sheets",
]
