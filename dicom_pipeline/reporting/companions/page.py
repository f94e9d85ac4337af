"""The PDF of a report: its text, then the key images."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting.companions.lettering import font_file, writable

BANNER = "AI RESEARCH - NOT FOR DIAGNOSIS"
DEJAVU = "DejaVuSansMono"


PICTURES_WIDE, PICTURES_HIGH = 2, 2
MARGIN = 36
"""Points; an A4 page is 595 x 842."""


def pdf_bytes(text: str, pictures: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """A4 pages: the text, then the key images two by two, RGB uint8 (H, W, 3). The same bytes each time.

    Raises ReportError where the extra `pdf` is not installed.
    """
    try:
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.utils import ImageReader
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise ReportError("a PDF companion needs reportlab: pip install 'dicom-pipeline[pdf]'") from error

    stream = io.BytesIO()
    width, height = A4
    canvas = Canvas(stream, pagesize=A4, invariant=1, pageCompression=0)
    canvas.setTitle("AI RESEARCH - not for diagnosis")

    def heading() -> None:
        canvas.setFillColorRGB(0.75, 0.1, 0.1)
        canvas.setFont("Helvetica-Bold", 13)
        canvas.drawCentredString(width / 2, height - 36, BANNER)
        canvas.setFillColorRGB(0, 0, 0)

    def write(x: float, y: float, line: str, font: str, size: float) -> None:
        plain = _is_plain(line)
        canvas.setFont(font if plain else DEJAVU, size)
        canvas.drawString(x, y, line if plain else writable(line))

    _register_dejavu()
    lines = [part for line in text.splitlines() for part in (wrapped(line, 124) or [""])]
    for start in range(0, len(lines), 76):
        heading()
        for number, line in enumerate(lines[start : start + 76]):
            write(36, height - 64 - 9.5 * number, line, "Courier", 7)
        canvas.showPage()
    cell = (width - 3 * MARGIN) / PICTURES_WIDE, (height - 4 * MARGIN) / PICTURES_HIGH
    for start in range(0, len(pictures), PICTURES_WIDE * PICTURES_HIGH):
        heading()
        for index, pixels in enumerate(pictures[start : start + PICTURES_WIDE * PICTURES_HIGH]):
            row, column = divmod(index, PICTURES_WIDE)
            scale = min(cell[0] / pixels.shape[1], cell[1] / pixels.shape[0])
            size = pixels.shape[1] * scale, pixels.shape[0] * scale
            x, top = MARGIN + column * (cell[0] + MARGIN), height - 1.5 * MARGIN - row * (cell[1] + MARGIN)
            canvas.drawImage(ImageReader(Image.fromarray(pixels)), x, top - size[1], *size)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


@functools.cache
def _register_dejavu() -> None:
    """Once a process: a document that is being written keeps the font that it began with."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    registerFont(TTFont(DEJAVU, font_file()))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken at spaces where there are some."""
    return textwrap.wrap(text, width) if text else []


def _is_plain(line: str) -> bool:
    """Whether the fonts that every PDF reader has can write it."""
    try:
        line.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
