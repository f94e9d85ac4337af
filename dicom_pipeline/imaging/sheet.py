"""A contact sheet: many renderings on one page, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dicom_pipeline.domain import Pixels

THUMBNAIL = 168
CAPTION = 30
GAP = 8
HEADING = 30
INK, FAINT, PAPER = (230, 234, 240), (150, 158, 170), (18, 21, 26)


def contact_sheet(
    renderings: Sequence[Pixels], captions: Sequence[str], *, title: str = "", columns: int = 6
) -> Image.Image:
    """RGB page of thumbnails in reading order; a caption of up to two lines stands under each."""
    columns = max(1, min(columns, max(len(renderings), 4)))
    rows = -(-len(renderings) // columns)
    cell = THUMBNAIL + GAP
    page = Image.new("RGB", (GAP + columns * cell, HEADING + rows * (cell + CAPTION) + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 8), title, INK, ImageFont.load_default(15))
    font = ImageFont.load_default(11)
    for index, (pixels, caption) in enumerate(zip(renderings, captions, strict=True)):
        x = GAP + index % columns * cell
        y = HEADING + index // columns * (cell + CAPTION)
        page.paste(Image.fromarray(np.asarray(pixels)).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS), (x, y))
        for line, text in enumerate(caption.split("\n")[:2]):
            draw.text((x, y + THUMBNAIL + 2 + 13 * line), _fitted(draw, text, font), FAINT if line else INK, font)
    return page


def stack_sheets(sheets: Sequence[Image.Image]) -> Image.Image:
    """Several pages under one another."""
    page = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    y = 0
    for sheet in sheets:
        page.paste(sheet, (0, y))
        y += sheet.height
    return page


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut with an ellipsis where it is wider than a thumbnail."""
    if draw.textlength(text, font) <= THUMBNAIL:
        return text
    while text and draw.textlength(text + "…", font) > THUMBNAIL:
        text = text[:-1]
    return text + "…"
