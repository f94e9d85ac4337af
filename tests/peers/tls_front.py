"""A server that speaks TLS in front of one that does not, as nginx in front of Orthanc (whose own HTTPS ends Debian 12's)."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

from tests.peers.programs import free_port


class TlsFront:
    """Listens on `port` of loopback with a certificate and hands everything to another port, both ways."""

    def __init__(self, behind: int, certificate: Path, key: Path) -> None:
        self.port = free_port()
        self._behind = behind
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "TlsFront":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._relay, "127.0.0.1", self.port, ssl=self._context)
        self._started.set()
        await self._end.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)  # transports that were aborted close in the next rounds of the loop

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.ExitStack() as ends:  # also where the front ends in the middle of it
            ends.callback(writer.transport.abort)
            try:
                there, to_there = await asyncio.open_connection("127.0.0.1", self._behind)
            except OSError:
                return
            ends.callback(to_there.transport.abort)
            await asyncio.gather(_pump(reader, to_there), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()
