"""What the plug-in asks of a pipeline, over HTTP and in memory; an uploaded file's content is its SOP Instance UID."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable


class Pipeline:
    """before: path -> called once before it is answered. status: of HTTP, for every answer."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.expected: list[int] = []
        self.asked: Counter[str] = Counter()
        self.state: dict[str, object] | None = {"state": "processing", "revisions": []}
        self.before: dict[str, Callable[[], object]] = {}
        self.status = 200
        pipeline = self

        class Requests(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pipeline.before.pop(self.path, lambda: None)()
                value = pipeline.answer(self.command, self.path, body)
                text = json.dumps(value if pipeline.status == 200 else {"error": "it is away"}).encode()
                self.send_response(404 if value is None else pipeline.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = answer  # noqa: N815 - the library's names

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, method: str, path: str, body: bytes) -> object:
        self.asked[f"{method} {path}"] += 1
        if path == "/instances":
            self.stored.append(body.decode())
            return {"stored": True, "result": "stored"}
        if path.endswith("/instances"):
            return {"instances": self.stored}
        if path.endswith("/expected"):
            self.expected.append(json.loads(body)["instances"])
        if method == "GET":
            return self.state
        return {}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
