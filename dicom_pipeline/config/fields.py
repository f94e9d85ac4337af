"""What the values of settings may be, and a section of them."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]*$")]
"""An Application Entity title: 1 to 16 ASCII characters, no backslash (PS3.5 6.2, VR AE)."""

Port = Annotated[int, Field(ge=1, le=65535)]

NAME_OR_PATH = "name or path"
NameOrPath = Annotated[str, NAME_OR_PATH]
"""A name that means something by itself, unless something lies under it beside the settings file."""

NamesOrPaths = Annotated[tuple[str, ...], NAME_OR_PATH]
"""Several of them."""


def _pattern(text: str) -> str:
    """A regular expression that can be read."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from error
    return text


def _http_url(text: str) -> str:
    """A URL that can be asked."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not re.search(r"\s", text)
    except ValueError:
        good = False
    if not good:
        raise ValueError("expected a URL that begins with http:// or https:// and names a host")
    return text


HttpUrl = Annotated[str, AfterValidator(_http_url)]

Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression of Python's `re`."""

Patterns = tuple[Pattern, ...]


class Section(BaseModel):
    """One table of the TOML file; unknown keys are refused, so that a typing error is no silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
