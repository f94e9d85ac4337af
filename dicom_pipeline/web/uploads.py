"""Instances that come over HTTP: the body is read chunk by chunk into receipts, by a thread that may wait for the disk."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from starlette.requests import Request

from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.web.answer import Answer
from dicom_pipeline.web.dicomweb import store

MAX_UPLOADS = 32
"""Bodies that are read at once; further ones wait, and pages are answered by other threads."""

CHUNK_SECONDS = 60.0
"""Silence after which a client is given up."""

RATE_GRACE_SECONDS = 15.0
"""How long a body may be slower than the least rate."""

REFUSAL_STATUS = {
    UploadResult.OWN_OBJECT: 200,
    UploadResult.TOO_LARGE: 413,
    UploadResult.DISK_FULL: 507,
    UploadResult.UNREADABLE: 422,
    UploadResult.MISSING_UID: 422,
    UploadResult.AMBIGUOUS_IDENTITY: 409,
    UploadResult.UNSUPPORTED: 415,
}

Result = TypeVar("Result")
Consume = Callable[[Receiver, Iterator[bytes], str, str], Result]
"""Receiver, chunks of the body, its content type and the client's address -> what became of it."""


async def in_upload_thread(
    request: Request, receiver: Receiver, consume: Consume[Result], address: str, least_rate: int
) -> Result:
    """Run `consume` in one thread, which gets the body's chunks as they come. least_rate: bytes a second, over all of it.

    Raises what it raises, TimeoutError for a client that is silent or slower, and ClientDisconnect for one that is gone;
    what was begun is aborted then.
    """
    stream = request.stream()
    content_type = request.headers.get("content-type", "")

    def work() -> Result:
        try:
            return consume(receiver, _chunks(stream, least_rate), content_type, address)
        finally:
            receiver.transfers.flush()
            receiver.catalog.close()

    return await anyio.to_thread.run_sync(work, limiter=_limiter())


def receive_file(receiver: Receiver, chunks: Iterator[bytes], content_type: str, address: str) -> Answer:
    """One Part 10 file as the whole body. The JSON's `taken`, `kept` and `again` are older names and will go."""
    del content_type
    receipt = receiver.begin(source="HTTP", address=address)
    try:
        for chunk in chunks:
            receipt.write(chunk)
            if receipt.refused is UploadResult.TOO_LARGE:
                break
        result = receipt.finish().result
    finally:
        receipt.abort()
    values = {"result": result.value, "stored": result.stored, "retryable": result.retryable}
    values |= {"taken": result.value, "kept": result.stored, "again": result.retryable}
    status = REFUSAL_STATUS.get(result, 200)
    if result is UploadResult.TOO_LARGE:
        limit = f"request body exceeds listener.max_object_bytes ({receiver.max_object_bytes} bytes)"
        return Answer.of(status, {**values, "error": limit})
    return Answer.of(status, values if status == 200 else {**values, "error": f"refused: {result.value}"})


def receive_stow(receiver: Receiver, chunks: Iterator[bytes], content_type: str, address: str) -> Answer:
    """The parts of a STOW-RS request. Raises StowError for a body that is none."""
    status, values = store(receiver, chunks, content_type, address)
    return Answer(status, json.dumps(values).encode(), "application/dicom+json")


def _chunks(stream: AsyncIterator[bytes], least_rate: int) -> Iterator[bytes]:
    """The body for a thread of anyio's: each chunk is fetched by the event loop. Raises TimeoutError.

    Only the time in which a chunk is waited for counts: a slow disk is not the client's.
    """
    came, waited = 0, 0.0

    async def following() -> bytes | None:
        with anyio.fail_after(CHUNK_SECONDS):
            return await anext(stream, None)

    while True:
        began = time.monotonic()
        chunk = anyio.from_thread.run(following)
        waited += time.monotonic() - began
        if chunk is None:
            return
        came += len(chunk)
        if waited > RATE_GRACE_SECONDS and came < least_rate * waited:
            raise TimeoutError("slower than the least rate")
        yield chunk


@cache
def _limiter() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(MAX_UPLOADS)
