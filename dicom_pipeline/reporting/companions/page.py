"""The PDF of a report: its text, then the key frames with their scores."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dicom_pipeline.domain import Pixels
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting.companions.lettering import font_file, writable

BANNER = "AI RESEARCH - NOT FOR DIAGNOSIS"
DEJAVU = "DejaVuSansMono"


def pdf_bytes(text: str, pictures: Sequence[tuple[Pixels, Sequence[str]]]) -> bytes:
    """A4 pages: the text, then the pictures two by two, each with its lines. The same bytes each time.

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
    for start in range(0, len(pictures), 4):
        heading()
        for index, (pixels, said) in enumerate(pictures[start : start + 4]):
            x, y = 48 + 256 * (index % 2), height - 310 - 340 * (index // 2)
            canvas.drawImage(ImageReader(Image.fromarray(np.asarray(pixels))), x, y, 240, 240)
            for number, line in enumerate(part for whole in said for part in wrapped(whole, 46)):
                write(x, y - 14 - 12 * number, line, "Helvetica", 9)
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
