"""Pictures and pages for companions: the key image with its scores burned in, the PDF summary."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dicom_pipeline.domain import Pixels, score_text
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting.companions.lettering import font_file, font_of, label_text, writable

BANNER = "AI RESEARCH - NOT FOR DIAGNOSIS"
WIDTH, PICTURE, MARGIN = 896, 672, 24
RED, INK, FAINT, PAPER, BAR = (255, 92, 92), (236, 240, 246), (165, 172, 184), (14, 16, 20), (64, 132, 214)
LINE = 42
DEJAVU, ELLIPSIS = "DejaVuSansMono", "…"

Labelled = Sequence[tuple[str, float]]


def key_image_pixels(pixels: Pixels, scores: Labelled, title: str, notice: str) -> npt.NDArray[np.uint8]:
    """RGB uint8 (H, 896, 3): banner, the rendering, a line and a bar a score. Text stays legible at 512 px."""
    said = f"{title}. Research scores, uncalibrated unless a probe made them."
    notes = [line for text in (said, notice) for line in _wrapped(writable(text), 62)]
    height = 64 + PICTURE + 2 * MARGIN + LINE * len(scores) + 30 * len(notes) + MARGIN
    page = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((WIDTH // 2, 34), BANNER, RED, ImageFont.load_default(38), anchor="mm")
    shown = Image.fromarray(np.asarray(pixels)).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)
    page.paste(shown, ((WIDTH - PICTURE) // 2, 64))
    y = 64 + PICTURE + MARGIN
    for label, value in scores:
        name = _cut(draw, label_text(label), 30, 540)
        draw.text((MARGIN, y), name, INK, font_of(name.rstrip(ELLIPSIS), 30))
        draw.rectangle((580, y + 8, 580 + round(200 * value), y + 28), BAR)
        draw.rectangle((580, y + 8, 780, y + 28), outline=FAINT)
        draw.text((WIDTH - MARGIN, y), score_text(value, 2), INK, ImageFont.load_default(30), anchor="ra")
        y += LINE
    for line in notes:
        draw.text((MARGIN, y + 6), line, FAINT, font_of(line.replace(ELLIPSIS, ""), 24))
        y += 30
    return np.asarray(page)


def pdf_bytes(text: str, pictures: Sequence[tuple[Pixels, Labelled]]) -> bytes:
    """A4 pages: the text, then the pictures two by two. The same bytes each time.

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
    lines = [part for line in text.splitlines() for part in (_wrapped(line, 124) or [""])]
    for start in range(0, len(lines), 76):
        heading()
        for number, line in enumerate(lines[start : start + 76]):
            write(36, height - 64 - 9.5 * number, line, "Courier", 7)
        canvas.showPage()
    for start in range(0, len(pictures), 4):
        heading()
        for index, (pixels, scores) in enumerate(pictures[start : start + 4]):
            x, y = 48 + 256 * (index % 2), height - 310 - 340 * (index // 2)
            canvas.drawImage(ImageReader(Image.fromarray(np.asarray(pixels))), x, y, 240, 240)
            for number, (label, value) in enumerate(scores):
                write(x, y - 14 - 12 * number, f"{label_text(label)}  {score_text(value, 2)}", "Helvetica", 9)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


@functools.cache
def _register_dejavu() -> None:
    """Once a process: a document that is being written keeps the font that it began with."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    registerFont(TTFont(DEJAVU, font_file()))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken at spaces where there are some."""
    return textwrap.wrap(text, width) if text else []


def _cut(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """The text, with an ellipsis where it is wider than `width` pixels."""
    font = font_of(text, size)
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}{ELLIPSIS}", font) > width:
        text = text[:-1]
    return f"{text}{ELLIPSIS}"


def _is_plain(line: str) -> bool:
    """Whether the fonts that every PDF reader has can write it."""
    try:
        line.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
