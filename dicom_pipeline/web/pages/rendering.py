"""Templates -> pages: every text is escaped, no script or style stands in a page, and no other site may show one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from dicom_pipeline.disk import bytes_text
from dicom_pipeline.domain import Reason, score_text, short_uid
from dicom_pipeline.domain.life import DeliveryState, RevisionState, State, StudyState

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
}
"""Of every page. same-origin: with no-referrer a browser names no origin when it sends our own forms."""

TONES: dict[State, str] = {
    StudyState.ANNOUNCED: "busy",
    StudyState.RECEIVING: "busy",
    StudyState.HELD: "bad",
    RevisionState.READY: "busy",
    RevisionState.PROCESSING: "busy",
    RevisionState.DONE: "good",
    RevisionState.FAILED: "bad",
    DeliveryState.PENDING: "busy",
    DeliveryState.DELIVERED: "good",
    DeliveryState.SET_ASIDE: "bad",
}
"""How a state is coloured; the others need nobody's eye."""


def data_folder(name: str) -> Path:
    """A folder below data/ of the package."""
    return Path(str(resources.files("dicom_pipeline") / "data" / name))


@cache
def templates() -> Environment:
    """The pages' templates; a value that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment_text,
        "iso": iso_text,
        "duration": duration_text,
        "short": short_uid,
        "score": score_text,
        "size": bytes_text,
        "tone": lambda state: TONES.get(state, "quiet"),
        "words": lambda state: str(state).replace("-", " "),
        "reason": reason_text,
        "bar": lambda value: round(min(max(value, 0.0), 1.0) * 100, 1),
    }
    return environment


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A whole page with the headers of every page."""
    return HTMLResponse(templates().get_template(template).render(**values), status, HEADERS)


def fragment(template: str, **values: Any) -> str:
    """The part of a page that changes."""
    return templates().get_template(template).render(**values)


def moment_text(at: float) -> str:
    """Seconds since 1970 as this machine's local time, to the second."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso_text(at: float) -> str:
    """The same for the datetime attribute of <time>."""
    return datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="seconds")


def duration_text(seconds: float) -> str:
    """A time span in its two largest units, such as "3 h 12 min"."""
    rest = round(max(seconds, 0.0))
    units = [(rest // 86400, "d"), (rest // 3600 % 24, "h"), (rest // 60 % 60, "min"), (rest % 60, "s")]
    while len(units) > 1 and not units[0][0]:
        del units[0]
    return " ".join(f"{count} {unit}" for count, unit in units[:2] if count) or "0 s"


def reason_text(code: str) -> str:
    """The sentence of a Reason; the code itself for one of a later version."""
    try:
        return Reason.of(code).sentence
    except KeyError:
        return code
