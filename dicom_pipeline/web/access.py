"""Which answered requests the audit trail must tell of (PS3.15 A.5: access to instances, queries)."""

from __future__ import annotations

import time
from urllib.parse import unquote, urlsplit

from dicom_pipeline.audit import Accessed, Node, Queried

READ_ROUTES = ("explain", "scores", "report", "contact-sheet", "similar")
"""Routes below /studies/{uid} that show what was made of a study; its state and counts are asked too often to be told."""


def http_access(method: str, target: str, status: int, address: str) -> Accessed | Queried | None:
    """What an answered request reads that the trail must tell of; None for all others. target: path and query."""
    parts = urlsplit(target)
    path = [unquote(piece) for piece in parts.path.strip("/").split("/")]
    user = Node("HTTP", address)
    if method != "GET" or status != 200:
        return None
    if path == ["search"]:
        return Queried(time.time(), user, target)
    if len(path) == 3 and path[0] == "studies" and path[2] in READ_ROUTES:
        return Accessed(time.time(), user, path[1], path[2])
    return None
