"""The pipeline's HTTP interface."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

REQUEST_SECONDS = 10.0
UPLOAD_SECONDS = 25.0
"""Timeout of an upload; below STOP_SECONDS, so that a stop of Orthanc does not cut a request off."""

SEARCH_SECONDS = 70.0
MAX_ANSWER_BYTES = 64 * 2**20
MAX_ERROR_BYTES = 64 * 2**10
REFUSED = (409, 413, 415, 422)
"""HTTP statuses with which the pipeline refuses one instance for good."""


class PipelineError(Exception):
    """The pipeline did not answer, or answered with an error. status: of HTTP; 0 where nothing answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PipelineClient:
    """Requests to the pipeline at a URL, which may be empty with "Send": "DICOM". Every method raises PipelineError."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        seconds: float = REQUEST_SECONDS,
    ) -> tuple[bytes, str]:
        """Body and content type of the pipeline's answer."""
        if not self.url:
            raise PipelineError(0, "no pipeline URL is configured")
        request = urllib.request.Request(self.url + path, data=body, method=method)  # noqa: S310 - is_url checked it
        request.add_header("Content-Type", content_type)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=seconds) as answer:
                return read_bounded(answer, seconds), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            raise PipelineError(error.code, f"the pipeline answers: {error_text(error)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error) or type(error).__name__
            raise PipelineError(0, f"the pipeline at {self.url} cannot be reached: {reason}") from error

    def request_json(
        self, method: str, path: str, value: Any = None, seconds: float = REQUEST_SECONDS
    ) -> dict[str, Any]:
        """The pipeline's answer as a JSON object."""
        body = None if value is None else json.dumps(value).encode()
        return self._json(self.request(method, path, body, seconds=seconds)[0])

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise PipelineError(0, f"the server at {self.url} is not a dicom_pipeline: its answer is not a JSON object")
        return found

    def study(self, uid: str) -> dict[str, Any] | None:
        """What the pipeline knows of a study; None where it does not know it."""
        try:
            return self.request_json("GET", f"/studies/{uid}")
        except PipelineError as error:
            if error.status == 404:
                return None
            raise

    def stored_instances(self, uid: str) -> list[str]:
        """SOP Instance UIDs of a study that the pipeline has stored."""
        try:
            found: list[str] = self.request_json("GET", f"/studies/{uid}/instances")["instances"]
        except PipelineError as error:
            if error.status == 404:
                return []
            raise
        return found

    def announce(self, uid: str, count: int) -> None:
        """Tell the pipeline how many instances of a study will come."""
        self.request_json("PUT", f"/studies/{uid}/expected", {"instances": count})

    def process(self, uid: str) -> None:
        """Ask for another revision of a study."""
        self.request_json("POST", f"/studies/{uid}/process")

    def upload(self, content: bytes) -> str:
        """Send one DICOM file; the reason of a refusal that another try would not change, empty when it was stored."""
        try:
            body, _ = self.request("POST", "/instances", content, "application/dicom", UPLOAD_SECONDS)
        except PipelineError as error:
            if error.status in REFUSED:
                return str(error).rpartition("refused: ")[2]
            raise
        answer = self._json(body)
        return "" if answer["stored"] else str(answer["result"])


def read_bounded(answer: http.client.HTTPResponse, seconds: float) -> bytes:
    """The body of an answer. Raises OSError where it is too slow, too large or incomplete."""
    end = time.monotonic() + seconds
    parts, size = [], 0
    while part := answer.read1(2**16):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise OSError(f"its answer is larger than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"its answer takes longer than {seconds:.0f} s")
    if answer.length:
        raise OSError("its answer is incomplete")
    return b"".join(parts)


def error_text(error: urllib.error.HTTPError) -> str:
    """What an HTTP error of the pipeline says, else its status alone; valid Unicode, so that it can be logged and stored."""
    with error:
        try:
            text = str(json.loads(error.read(MAX_ERROR_BYTES))["error"])
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return f"HTTP {error.code}"
    return text.encode("utf-8", "replace").decode()
