"""An HTTP answer as a plain value, so that what answers needs no server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and content type."""

    status: int
    body: bytes
    content_type: str = "application/json"

    @classmethod
    def of(cls, status: int, value: Mapping[str, Any]) -> Answer:
        """A JSON answer."""
        return cls(status, json.dumps(value).encode())

    def response(self, *, close: bool = False, headers: Mapping[str, str] | None = None) -> Response:
        """As Starlette sends it. close: the connection ends, as a body may be left unread."""
        all_headers = {**(headers or {}), **({"connection": "close"} if close else {})}
        return Response(self.body, self.status, all_headers, self.content_type)
