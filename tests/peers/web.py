"""The HTTP application served by uvicorn in a thread, on loopback, and requests to it."""

import http.client
import json
import socket
import threading
from contextlib import contextmanager, suppress

from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.errors import NoAnswerError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.web.app import WebContext, application
from dicom_pipeline.web.server import listening_socket, serve_http


def no_worker(_question):
    raise NoAnswerError("the worker is not ready")


def context_of(settings, catalog, facts=None, **changes):
    """What the routes need, without the service's processes. facts: a list for what the audit trail is told."""
    record = (lambda fact: None) if facts is None else facts.append
    limits = settings.listener.max_object_bytes, settings.spool.min_free_bytes, ThreadTransfers(record)
    inflated = settings.listener.max_inflated_bytes
    values = {
        "settings": settings,
        "catalog": catalog,
        "receiver": Receiver(catalog, Spool(settings.spool.folder), *limits, max_inflated_bytes=inflated),
        "ready": lambda: (True, {"status": "ready"}),
        "service": lambda: {"state": "running"},
        "ask": no_worker,
        "record": record,
    }
    return WebContext(**(values | changes))


class Site:
    """Requests to a served application."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method, target, body=None, headers=None):
        """Status and body; JSON is parsed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if "json" in kind else content
        finally:
            connection.close()

    def raw(self, data: bytes, *, finish: bool = True) -> bytes:
        """What comes back for these very bytes, until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            with suppress(ConnectionResetError):  # the server closes with a part of ours unread
                while part := connection.recv(65536):
                    received += part
        return received


@contextmanager
def served(context):
    """The application of a context, served until the block ends."""
    stop, began = context.stop, threading.Event()
    app = application(context)
    with listening_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=serve_http, args=(app, listening, stop, began.set))
        thread.start()
        try:
            assert began.wait(60)
            yield Site(port)
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()
