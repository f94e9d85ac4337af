"""Orthanc's own REST API, from inside Orthanc."""

from __future__ import annotations

import json
import traceback
from typing import Any

import orthanc

MISSING = (
    orthanc.ErrorCode.UNKNOWN_RESOURCE,
    orthanc.ErrorCode.INEXISTENT_ITEM,
    orthanc.ErrorCode.INEXISTENT_FILE,
    orthanc.ErrorCode.CORRUPTED_FILE,
    orthanc.ErrorCode.REGULAR_FILE_EXPECTED,
)
"""Orthanc's error codes for a resource that does not exist, or whose file cannot be read."""


def get_bytes(path: str) -> bytes | None:
    """The answer of Orthanc's REST API; None where the resource does not exist or cannot be read.

    Raises OrthancException for every other error, for example while Orthanc's database is not available.
    """
    try:
        return orthanc.RestApiGet(path)
    except orthanc.OrthancException as error:
        if error.args[0] in MISSING:
            return None
        raise


def get_json(path: str) -> Any:
    """The answer of Orthanc's REST API as JSON; None where the resource does not exist."""
    body = get_bytes(path)
    return None if body is None else json.loads(body)


def get_text(path: str) -> str:
    """The answer of Orthanc's REST API as text; empty where the resource does not exist."""
    return (get_bytes(path) or b"").decode("utf-8", "replace").strip(" \0")


def orthanc_id(uid: str, level: str) -> str:
    """Orthanc's identifier of a DICOM UID at a level (Study, Instance ...); empty where Orthanc does not have it."""
    matches = json.loads(orthanc.RestApiPost("/tools/lookup", uid.encode()))
    return next((str(match["ID"]) for match in matches if match["Type"] == level), "")


def error_place(error: BaseException) -> str:
    """An unexpected error by its type and place alone: its text may quote a patient."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}"
