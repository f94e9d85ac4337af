"""The files of the audit trail to a syslog server: what the files hold is sent in order, across restarts and outages.

The files are the queue, so that a server that is away blocks nothing and costs no memory. How far it came stands in
`sent.json` beside them. After a crash the last messages may be sent twice; none is left out, but UDP may lose them under way,
and TLS those that were under way when a connection broke.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from dicom_pipeline.audit.syslog import Carrier, TooLongError, syslog_message
from dicom_pipeline.audit.trail import files_of
from dicom_pipeline.backoff import backoff_seconds

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 60.0
MARK_EVERY = 100
"""Messages between two notes of how far it came."""

END = b"</AuditMessage>"


class Forwarder:
    """Sends what is new in a trail's folder until `stop` is set."""

    def __init__(self, folder: Path, carrier: Carrier) -> None:
        self.folder = folder
        self._carrier = carrier
        self._host = socket.gethostname()
        self._mark = folder / "sent.json"

    def run(self, stop: threading.Event) -> None:
        """Look and send; a server that is away is tried again, less and less often."""
        failures, failing_since = 0, 0.0
        while not stop.is_set():
            try:
                self.send_new(stop)
                if failing_since:
                    log.warning("the audit syslog takes messages again, after %.0f s", time.monotonic() - failing_since)
                wait, failures, failing_since = LOOK_SECONDS, 0, 0.0
            except OSError as error:
                self._carrier.close()
                failing_since = failing_since or time.monotonic()
                wait = backoff_seconds(failures, FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS)
                failures += 1
                reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
                log.error(
                    "the audit syslog takes no messages (%s); %d bytes wait in the files, again in %.0f s",
                    reason,
                    self.waiting_bytes(),
                    wait,
                )
            stop.wait(wait)
        self._carrier.close()

    def send_new(self, stop: threading.Event) -> int:
        """Send all lines behind the mark; returns how many. Raises OSError; then the mark stands behind the last one sent."""
        sent, mark = 0, self._read_mark()
        try:
            for name, offset, line in self._lines(*mark):
                if line.endswith(END):
                    self._send(line)
                elif line.strip():
                    log.error("a line of the audit file %s is no whole message and was not sent", name)
                mark, sent = (name, offset), sent + 1
                if sent % MARK_EVERY == 0:
                    self._write_mark(*mark)
                if stop.is_set():
                    break
        finally:
            if sent:
                self._write_mark(*mark)
        return sent

    def waiting_bytes(self) -> int:
        """How much of the files has not been sent."""
        name, offset = self._read_mark()
        return sum(p.stat().st_size - (offset if p.name == name else 0) for p in self._from(name))

    def _send(self, line: bytes) -> None:
        try:
            self._carrier.send(syslog_message(line.decode("utf-8", "replace"), self._host, os.getpid()))
        except TooLongError:
            log.error(
                "an audit message of %d bytes does not fit a datagram; the file has it, the syslog not", len(line)
            )

    def _lines(self, name: str, offset: int) -> Iterator[tuple[str, int, bytes]]:
        """File, offset behind it, and line, from a place on; the last line only once it is whole."""
        for path in self._from(name):
            with path.open("rb") as stream:
                stream.seek(offset if path.name == name else 0)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    yield path.name, stream.tell(), line.rstrip(b"\n")

    def _from(self, name: str) -> list[Path]:
        """The files from the one named on. Where it is gone, what stood in it and was not sent is missed: that is said."""
        files = files_of(self.folder)
        if not name:
            return files
        if files and all(path.name != name for path in files):
            later = [path for path in files if path.name > name]
            log.error("the audit file %s was removed before the syslog had all of it", name)
            self._write_mark(later[0].name if later else "", 0)
            return later or files
        return [path for path in files if path.name >= name]

    def _read_mark(self) -> tuple[str, int]:
        try:
            values = json.loads(self._mark.read_text())
            return str(values["file"]), int(values["offset"])
        except (FileNotFoundError, ValueError, KeyError):
            return "", 0

    def _write_mark(self, name: str, offset: int) -> None:
        new = self._mark.with_suffix(".new")
        new.write_text(json.dumps({"file": name, "offset": offset}))
        new.replace(self._mark)
