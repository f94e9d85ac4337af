"""Pages over HTTP: /health (the process runs), /ready (the catalog answers), /status (the account as JSON)."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.config import Settings
from dicom_pipeline.errors import CatalogError, ConfigError

log = logging.getLogger(__name__)


class Pages:
    """The HTTP server in a thread; none where service.web_port is not set."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._address = (settings.service.web_host, settings.service.web_port)
        self._catalog = catalog
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen. Raises ConfigError where the port is taken."""
        host, port = self._address
        if port is None:
            return
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise ConfigError(f"service.web_port {port} on {host} cannot be used: {error.strerror}") from error
        threading.Thread(target=self._server.serve_forever, name="pages", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """HTTP status and JSON body of a path."""
        if path == "/health":
            return 200, {"status": "ok"}
        if path in ("/ready", "/status"):
            try:
                account = service_account(self._catalog)
            except CatalogError as error:
                return 503, {"error": str(error)}
            finally:
                self._catalog.close()
            return 200, account if path == "/status" else {"status": "ready"}
        return 404, {"error": "there are /health, /ready and /status"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = pages.answer(self.path)
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                log.debug(format, *args)

        return Handler
