"""A contact sheet: many pictures on one page, in groups under headings, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dicom_pipeline.domain import Pixels

THUMBNAIL = 168
GAP = 8
TITLE = 32
HEADING = 26
LINE = 14
INK, FAINT, MARK, PAPER = (230, 234, 240), (150, 158, 170), (255, 190, 80), (18, 21, 26)
FONT, HEADING_FONT, TITLE_FONT = (ImageFont.load_default(size) for size in (11, 13, 15))


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """One picture: uint8 (H, W, 3). Under it its name, what there is to say of it, and a warning that stands out."""

    pixels: Pixels
    name: str
    note: str = ""
    warning: str = ""

    @property
    def lines(self) -> list[tuple[str, tuple[int, int, int]]]:
        """The caption's lines with their colours."""
        return [
            (self.name, INK),
            *((text, colour) for text, colour in ((self.note, FAINT), (self.warning, MARK)) if text),
        ]


@dataclass(frozen=True, slots=True)
class SheetGroup:
    """Pictures that belong together, such as a series, under one heading."""

    heading: str
    pictures: Sequence[SheetPicture]


def contact_sheet(groups: Sequence[SheetGroup], *, title: str = "", notice: str = "", columns: int = 6) -> Image.Image:
    """RGB page of thumbnails in reading order; a group begins on a line of its own.

    notice: stands below the title. Headings and captions are wrapped where they are too wide, never cut.
    """
    columns = max(1, min(columns, max([4, *(len(group.pictures) for group in groups)])))
    width = GAP + columns * (THUMBNAIL + GAP)
    layouts = [_Layout.of(group, columns, width - 2 * GAP) for group in groups]
    titled = [(text, INK, TITLE_FONT) for text in wrapped(title, TITLE_FONT, width - 2 * GAP)]
    titled += [(text, MARK, HEADING_FONT) for text in wrapped(notice, HEADING_FONT, width - 2 * GAP)]
    top = GAP + (TITLE - GAP) * len(titled)
    page = Image.new("RGB", (width, top + sum(layout.height for layout in layouts) + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (text, colour, font) in enumerate(titled):
        draw.text((GAP, GAP + number * (TITLE - GAP)), text, colour, font)
    for layout in layouts:
        layout.draw(page, draw, top)
        top += layout.height
    return page


def stack_sheets(sheets: Sequence[Image.Image]) -> Image.Image:
    """Several pages under one another."""
    page = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    y = 0
    for sheet in sheets:
        page.paste(sheet, (0, y))
        y += sheet.height
    return page


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels: between words, and within a word that is wider than a line."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


@dataclass(frozen=True, slots=True)
class _Layout:
    """A group with its texts in lines. captions: of each picture."""

    heading: list[str]
    rows: list[list[tuple[SheetPicture, list[tuple[str, tuple[int, int, int]]]]]]

    @classmethod
    def of(cls, group: SheetGroup, columns: int, width: int) -> _Layout:
        cells = [
            (picture, [(line, colour) for text, colour in picture.lines for line in wrapped(text, FONT, THUMBNAIL)])
            for picture in group.pictures
        ]
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        return cls(wrapped(group.heading, HEADING_FONT, width), rows)

    @property
    def height(self) -> int:
        """In pixels."""
        return HEADING * len(self.heading) + sum(map(_row_height, self.rows))

    def draw(self, page: Image.Image, draw: ImageDraw.ImageDraw, top: int) -> None:
        """On the page, from a line of it down."""
        for text in self.heading:
            draw.text((GAP, top + 6), text, INK, HEADING_FONT)
            top += HEADING
        for row in self.rows:
            for column, (picture, lines) in enumerate(row):
                left = GAP + column * (THUMBNAIL + GAP)
                image = Image.fromarray(np.asarray(picture.pixels))
                page.paste(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS), (left, top))
                for number, (text, colour) in enumerate(lines):
                    draw.text((left, top + THUMBNAIL + 2 + LINE * number), text, colour, FONT)
            top += _row_height(row)


def _row_height(row: list[tuple[SheetPicture, list[tuple[str, tuple[int, int, int]]]]]) -> int:
    return THUMBNAIL + LINE * max(len(lines) for _, lines in row) + GAP + 4
