"""How other processes of the service ask the worker, which has the model and the store: a line of JSON each way.

The socket is a file that only this user may open, named by the run of the service; nothing of the network reaches it.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Answerer = Callable[[Mapping[str, Any]], Mapping[str, Any]]

ANSWER_SECONDS = 60.0
"""Wait for an answer: a text waits for the batch that the model is running."""

QUESTION_SECONDS = 5.0
LONGEST_LINE = 2**20


class NoAnswerError(Exception):
    """The worker is not there, or too busy."""


class Questions:
    """The worker's side: answers questions in threads until `stop`. owner: the run of the service."""

    def __init__(self, owner: str, answer: Answerer) -> None:
        self._path = socket_path(owner)
        self._path.unlink(missing_ok=True)  # of a worker that was killed
        self._server = _server(self._path, answer)
        threading.Thread(target=self._server.serve_forever, name="questions", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def ask(owner: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's answer. Raises NoAnswerError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(socket_path(owner)))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        answer: dict[str, Any] = json.loads(line)
    except TimeoutError as error:
        raise NoAnswerError("the worker is busy; ask again later") from error
    except (OSError, ValueError) as error:
        raise NoAnswerError("the worker is not ready: it loads its model, or is being started again") from error
    return answer


def socket_path(owner: str) -> Path:
    """In the folder for temporary files, as the spool's own path may be longer than a socket's name can be (108 bytes)."""
    return Path(tempfile.gettempdir()) / f"dicom-pipeline-{owner[:16]}.sock"


class _Server(socketserver.ThreadingUnixStreamServer):
    """Its own way to tell of an error would print the words of an exception, on several lines."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        log.debug("who asked has gone", exc_info=True)


def _server(path: Path, answer: Answerer) -> socketserver.ThreadingUnixStreamServer:
    class Handler(socketserver.StreamRequestHandler):
        timeout = QUESTION_SECONDS

        def handle(self) -> None:
            try:
                question = json.loads(self.rfile.readline(LONGEST_LINE))
            except (OSError, ValueError):
                return
            try:
                given: Mapping[str, Any] = answer(question)
            except Exception as error:  # the edge of a thread: a question must not end the worker
                log.exception("a question was not answered")
                given = {"status": 500, "error": f"unexpected {type(error).__name__}; the service's log says more"}
            self.wfile.write(json.dumps(given).encode() + b"\n")

    server = _Server(str(path), Handler, bind_and_activate=False)
    server.daemon_threads = True
    server.server_bind()
    path.chmod(0o600)  # before it listens
    server.server_activate()
    return server
