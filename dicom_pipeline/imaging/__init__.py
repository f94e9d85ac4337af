"""RENDER: stored pixels of one frame -> uint8 (448, 448, 3), bit-exact to a named preset.

decoding/ (bytes to stored values), luts, windows and voi (values to grey), statistics (what presets must know of a stack),
colour (to sRGB), resize (square and shrink), kernels/ (look up and resize in one step, by numpy or as compiled loops),
presets (recipes in data/presets), serving (Google's container), render (fast path), sheet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_pipeline.imaging.presets import Preset, list_presets, load_preset

if TYPE_CHECKING:
    from dicom_pipeline.imaging.decoding.limits import Limits
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


def __getattr__(name: str) -> Any:
    """What works on pixels on first use: listing presets loads neither numpy nor pydicom."""
    if name == "Limits":
        from dicom_pipeline.imaging.decoding.limits import Limits

        return Limits
    if name in ("SeriesRenderer", "content_of"):
        from dicom_pipeline.imaging import render

        return getattr(render, name)
    if name in ("contact_sheet", "stack_sheets"):
        from dicom_pipeline.imaging import sheet

        return getattr(sheet, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
