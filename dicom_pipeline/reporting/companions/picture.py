"""The key image: a frame as its object shows it and as the model saw it, which image it is, and the scores of that image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dicom_pipeline.domain import Pixels, score_text
from dicom_pipeline.reporting.companions.lettering import font_of, label_text, writable
from dicom_pipeline.reporting.companions.orientation import Edges
from dicom_pipeline.reporting.companions.page import BANNER, wrapped

WIDTH, MARGIN, GAP = 896, 24, 16
ALONE, PAIRED = 672, 416
"""Side of a picture in pixels: of one, of two beside each other."""
RED, INK, FAINT, PAPER, BAR = (255, 92, 92), (236, 240, 246), (165, 172, 184), (14, 16, 20), (64, 132, 214)
BAR_LEFT, BAR_WIDTH = 530, 200
MARK = (255, 214, 90)
LARGE, SMALL = 30, 24
"""Letters in pixels: 17 and 14 where the image is shown 512 px wide."""
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands on a key image.

    title: series and image for a person. facts: lines below it. scores: label and value, of this image alone.
    notes: small lines below the scores. edges: which way the pictures look, None where the image does not say. seen: what
    stands below the model's picture.
    """

    title: str
    facts: Sequence[str]
    scores: Sequence[tuple[str, float]]
    notes: Sequence[str]
    edges: Edges | None = None
    seen: str = "as the model saw it"


def key_image_pixels(pixels: Pixels, own_window: Pixels | None, caption: Caption) -> npt.NDArray[np.uint8]:
    """RGB uint8 (H, 896, 3): banner, which image, one or two pictures, a line and a bar a score, notes.

    own_window: the frame in its object's own window, uint8 (448, 448, 3); None where the rendering is that already.
    """
    shown = [(pixels, caption.seen)]
    if own_window is not None:
        shown = [(own_window, "in its own window"), *shown]
    side = ALONE if len(shown) == 1 else PAIRED
    titles = wrapped(writable(caption.title), 50)
    facts = [line for text in caption.facts for line in wrapped(writable(text), 68)]
    notes = [line for text in caption.notes for line in wrapped(writable(text), 68)]
    height = (
        64 + 40 * len(titles) + 30 * len(facts) + side + 54 + 42 * len(caption.scores) + 30 * len(notes) + 2 * MARGIN
    )
    page = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((WIDTH // 2, 34), BANNER, RED, ImageFont.load_default(38), anchor="mm")
    y = _lines(draw, 64, titles, LARGE, INK, 40)
    y = _lines(draw, y, facts, SMALL, FAINT, 30) + 8
    left = (WIDTH - len(shown) * side - (len(shown) - 1) * GAP) // 2
    for number, (picture, name) in enumerate(shown):
        x = left + number * (side + GAP)
        page.paste(Image.fromarray(np.asarray(picture)).resize((side, side), Image.Resampling.BICUBIC), (x, y))
        if caption.edges is not None:
            _mark(draw, (x, y), side, caption.edges)
        draw.text((x + side // 2, y + side + 6), name, FAINT, ImageFont.load_default(SMALL), anchor="ma")
    y = _scores(draw, y + side + 46, caption.scores)
    _lines(draw, y, notes, SMALL, FAINT, 30)
    return np.asarray(page)


def cut_to_width(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """The text, with an ellipsis where it is wider than `width` pixels."""
    font = font_of(text, size)
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}{ELLIPSIS}", font) > width:
        text = text[:-1]
    return f"{text}{ELLIPSIS}"


def _lines(
    draw: ImageDraw.ImageDraw, y: int, lines: Sequence[str], size: int, colour: tuple[int, int, int], step: int
) -> int:
    for line in lines:
        draw.text((MARGIN, y), line, colour, font_of(line.replace(ELLIPSIS, ""), size))
        y += step
    return y


def _scores(draw: ImageDraw.ImageDraw, y: int, scores: Sequence[tuple[str, float]]) -> int:
    for label, value in scores:
        name = cut_to_width(draw, label_text(label), LARGE, BAR_LEFT - 2 * MARGIN)
        draw.text((MARGIN, y), name, INK, font_of(name.rstrip(ELLIPSIS), LARGE))
        draw.rectangle((BAR_LEFT, y + 8, BAR_LEFT + round(BAR_WIDTH * value), y + 28), BAR)
        draw.rectangle((BAR_LEFT, y + 8, BAR_LEFT + BAR_WIDTH, y + 28), outline=FAINT)
        draw.text((WIDTH - MARGIN, y), score_text(value, 2), INK, ImageFont.load_default(LARGE), anchor="ra")
        y += 42
    return y


def _mark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], side: int, edges: Edges) -> None:
    """The edges' letters, with a dark rim so that they are seen on white too."""
    (x, y), half, rim = corner, side // 2, 8
    places = {
        (x + rim, y + half, "lm"): edges.left,
        (x + side - rim, y + half, "rm"): edges.right,
        (x + half, y + rim, "mt"): edges.top,
        (x + half, y + side - rim, "mb"): edges.bottom,
    }
    for (at_x, at_y, anchor), letters in places.items():
        font = ImageFont.load_default(LARGE)
        draw.text((at_x, at_y), letters, MARK, font, anchor=anchor, stroke_width=2, stroke_fill=PAPER)
