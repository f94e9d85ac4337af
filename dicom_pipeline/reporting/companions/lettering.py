"""Letters on key images and PDFs: what the fonts can write, and what stands in place of the rest.

ASCII is written in Pillow's own font, all else in DejaVu Sans Mono (data/fonts, free to pass on): Latin, Greek, Cyrillic,
Armenian and Georgian. Scripts that are written from right to left or need shaping are left out, so that the same picture
comes of it on every machine, whatever Pillow was built with.
"""

from __future__ import annotations

import functools
import io
import unicodedata
from importlib import resources

from PIL import ImageFont

from dicom_pipeline.reporting import codes

NO_CHARACTER = "\U0010fffe"
"""Drawn as the sign for what a font lacks."""
RIGHT_TO_LEFT = ("R", "AL", "AN")
SMALLER = 0.85
"""DejaVu's letters beside the others: they are larger at the same size."""


def font_of(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that a text of writable characters is drawn in; size in pixels."""
    return ImageFont.load_default(size) if text.isascii() else _dejavu(round(size * SMALLER))


def writable(text: str) -> str:
    """The text with "?" for every character that no font of ours has; marks that stand alone are left out."""
    whole = unicodedata.normalize("NFC", text)
    return "".join(c if _has(c) else "?" for c in whole if not unicodedata.combining(c))


def label_text(name: str) -> str:
    """A label's name as it can be written; where that is not all of it, with the code that its score has in the report."""
    text = writable(name)
    unwritten = text != unicodedata.normalize("NFC", name)
    return f"{text} ({codes.score_code(name)})" if unwritten else text


def font_file() -> io.BytesIO:
    """DejaVu Sans Mono as a TrueType file."""
    return io.BytesIO((resources.files("dicom_pipeline") / "data" / "fonts" / "DejaVuSansMono.ttf").read_bytes())


@functools.cache
def _dejavu(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(), size, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def _has(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if unicodedata.bidirectional(character) in RIGHT_TO_LEFT or not character.isprintable():
        return False
    return _drawn(character) != _drawn(NO_CHARACTER)


def _drawn(character: str) -> tuple[tuple[int, int], bytes]:
    mask = _dejavu(24).getmask(character, mode="1")
    return mask.size, bytes(mask)
