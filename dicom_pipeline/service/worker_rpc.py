"""How other processes of the service ask the worker, which has the model and the store.

JSON over a socket of multiprocessing.connection in a folder that only this user may enter; nothing is unpickled, and nothing
of the network reaches it.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from dicom_pipeline.errors import NoAnswerError

log = logging.getLogger(__name__)

Answerer = Callable[[Mapping[str, Any]], Mapping[str, Any]]

ANSWER_SECONDS = 60.0
"""Wait for an answer: a text waits for the batch that the model is running."""

QUESTION_SECONDS = 5.0
MAX_QUESTION_BYTES = 2**20
MAX_ANSWER_BYTES = 2**26


class RpcServer:
    """The worker's side: answers questions in threads until `stop`. owner: the run of the service."""

    def __init__(self, owner: str, answer: Answerer) -> None:
        self._path = socket_path(owner)
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.unlink(missing_ok=True)  # of a worker that was killed
        self._answer = answer
        self._listener = Listener(str(self._path), "AF_UNIX", backlog=16)
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, name="rpc", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stopped = True
        with suppress(OSError), Client(str(self._path), "AF_UNIX"):  # ends the wait for the next connection
            pass
        self._thread.join(QUESTION_SECONDS)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._path.parent.rmdir()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection = self._listener.accept()
            except OSError as error:
                log.error("cannot accept a question: %s", error.strerror)
                threading.Event().wait(0.1)
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                if not connection.poll(QUESTION_SECONDS):
                    return
                question = json.loads(connection.recv_bytes(MAX_QUESTION_BYTES))
                given = self._given(question)
                connection.send_bytes(json.dumps(given).encode())
            except (EOFError, OSError, ValueError):
                log.debug("client disconnected", exc_info=True)

    def _given(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self._answer(question)
        except Exception as error:  # the edge of a thread: a question must not end the worker
            log.exception("a question was not answered")
            return {"status": 500, "error": f"unexpected {type(error).__name__}; the service's log says more"}


def ask(owner: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's answer. Raises NoAnswerError."""
    try:
        with Client(str(socket_path(owner)), "AF_UNIX") as connection:
            connection.send_bytes(json.dumps(question).encode())
            if not connection.poll(ANSWER_SECONDS):
                raise NoAnswerError("the worker is busy; ask again later")
            answer: dict[str, Any] = json.loads(connection.recv_bytes(MAX_ANSWER_BYTES))
    except (EOFError, OSError, ValueError) as error:
        raise NoAnswerError("the worker is not ready: it loads its model, or is being started again") from error
    return answer


def socket_path(owner: str) -> Path:
    """In the folder for temporary files, as the spool's own path may be longer than a socket's name can be (108 bytes)."""
    return Path(tempfile.gettempdir()) / f"dicom-pipeline-{owner[:16]}" / "worker.sock"
