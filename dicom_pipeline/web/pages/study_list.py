"""The list of studies: what the URL asks for, and a page of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.browsing.study_list import StudyFilter, list_studies
from dicom_pipeline.domain.life import RevisionState, State, StudyState

ROWS = 50
MAX_TEXT = 100
MAX_PAGE = 1_000_000

SET_ASIDE = "set-aside"
GROUPS: dict[str, tuple[str, tuple[State, ...]]] = {
    "": ("All", ()),
    "arriving": ("Arriving", (StudyState.ANNOUNCED, StudyState.RECEIVING)),
    "processing": ("Processing", (RevisionState.READY, RevisionState.PROCESSING)),
    "held": ("Held", (StudyState.HELD,)),
    "done": ("Done", (RevisionState.DONE,)),
    "no-report": ("No report", (RevisionState.NO_LABEL, RevisionState.NO_IMAGE, RevisionState.DISCARDED)),
    "failed": ("Failed", (RevisionState.FAILED,)),
    SET_ASIDE: ("Not delivered", ()),
}
"""Value of `state` in the URL -> what it is called, and the states that it lists."""

BUSY = (*GROUPS["arriving"][1], *GROUPS["processing"][1])


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the URL asks for. day: YYYY-MM-DD, in this machine's time. number: of the page, from 1."""

    text: str = ""
    day: str = ""
    group: str = ""
    number: int = 1

    def to(self, **changes: str | int) -> str:
        """The query of a URL that asks for something else besides."""
        values = {"q": self.text, "day": self.day, "state": self.group, "page": 1, **changes}
        return urlencode({name: value for name, value in values.items() if value and (name, value) != ("page", 1)})


def list_query(query: Mapping[str, str]) -> ListQuery:
    """The query of a URL. Raises HTTPException 400 where it cannot be meant."""
    text, day, group = query.get("q", "").strip(), query.get("day", "").strip(), query.get("state", "")
    if len(text) > MAX_TEXT:
        raise HTTPException(400, f"expected a text of at most {MAX_TEXT} characters to look for")
    if group not in GROUPS:
        raise HTTPException(400, f"expected state={'|'.join(name for name in GROUPS if name)}")
    if day:
        _span(day)
    return ListQuery(text, day, group, page_number(query))


def page_number(query: Mapping[str, str]) -> int:
    """The page that a URL asks for, from 1. Raises HTTPException 400."""
    text = query.get("page", "1")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= number <= MAX_PAGE:
        raise HTTPException(400, "expected page=N with a whole number from 1")
    return number


def studies_values(catalog: Catalog, asked: ListQuery) -> dict[str, Any]:
    """What the template shows."""
    since, until = _span(asked.day) if asked.day else (None, None)
    chosen = StudyFilter(asked.text, since, until, GROUPS[asked.group][1], asked.group == SET_ASIDE)
    found = list_studies(catalog, chosen, ROWS + 1, (asked.number - 1) * ROWS)
    shown = found[:ROWS]
    return {
        "asked": asked,
        "query": asked.to(page=asked.number),
        "groups": [(name, title, asked.to(state=name)) for name, (title, _) in GROUPS.items()],
        "studies": shown,
        "busy": sum(study.state in BUSY for study in shown),
        "first": (asked.number - 1) * ROWS + 1,
        "newer": asked.to(page=asked.number - 1) if asked.number > 1 else None,
        "older": asked.to(page=asked.number + 1) if len(found) > ROWS else None,
    }


def _span(day: str) -> tuple[float, float]:
    """Begin and end of a day in this machine's time. Raises HTTPException 400 for what is no day."""
    try:
        begin = date.fromisoformat(day)
        if not 1970 < begin.year < 9999:
            raise ValueError(day)
    except ValueError:
        raise HTTPException(400, "expected a day such as 2026-01-05") from None
    midnight = [datetime.combine(one, datetime.min.time()) for one in (begin, begin + timedelta(days=1))]
    return midnight[0].timestamp(), midnight[1].timestamp()
