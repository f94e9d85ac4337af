"""Bodies that carry no instance, read under limits; and who sent a request."""

from __future__ import annotations

from contextlib import suppress

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

BODY_SECONDS = 30.0
"""From the head of a request to the end of its body."""

MAX_DISCARDED_BYTES, DISCARD_SECONDS = 8 * 1024**2, 2.0
"""How much of a refused body is still read, and how long."""


async def read_body(request: Request, most: int) -> bytes:
    """The whole body. Raises HTTPException 413 beyond `most` bytes, counted as they come; 408 where it is late."""
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    await discard_rest(request)
                    raise HTTPException(413, f"request body exceeds {most} bytes", {"connection": "close"})
    except TimeoutError:
        raise HTTPException(408, f"the body did not come in {BODY_SECONDS:.0f} s", {"connection": "close"}) from None
    return bytes(body)


async def discard_rest(request: Request) -> None:
    """Read a little of what a refused client still sends: a connection that is closed over unread bytes is reset, and the
    client would not hear why.
    """
    left = MAX_DISCARDED_BYTES
    # RuntimeError: Starlette's word for a body that was read to its end
    with suppress(ClientDisconnect, RuntimeError), anyio.move_on_after(DISCARD_SECONDS):
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                break


def address_of(request: Request) -> str:
    """The client's address; empty where the server does not know it."""
    return request.client.host if request.client else ""
