"""`dicom-pipeline serve` as a person runs it: its own process, a settings file, a folder."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.peers.made import dicom_node
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until


class Service:
    """One service; `start` may be called again after `kill` or `stop`, as after a crash."""

    def __init__(self, folder: Path, destinations: str = "", quiet: float = 1.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.web = free_port()
        self.config = folder / "pipeline.toml"
        self.log = folder / "serve.log"
        self.data = folder / "data"
        self.config.write_text(
            f'[listener]\nport = {self.port}\n[spool]\nfolder = "data"\nmin_free_bytes = 0\n'
            f"[assembly]\nquiet_seconds = {quiet}\n[service]\nweb_port = {self.web}\n"
            f'[planning]\nselection = "uniform:4"\n{destinations}'
        )
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen | None = None

    def start(self, answers=None) -> "Service":
        """Start; answers: what says that it listens, where a C-ECHO without TLS cannot."""
        command = [sys.executable, "-m", "dicom_pipeline", "serve", "--config", self.config]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stderr=log, start_new_session=True, env={**os.environ, **self.environment}
            )
        node = dicom_node("DICOMPIPE", self.port, calling="TEST", timeout_seconds=2)
        wait_until(
            answers or (lambda: not node.echo()), 60, f"the listener does not answer: {self.log.read_text()[-2000:]}"
        )
        wait_until(lambda: answers or self._web_answers(), 60, f"no page answers: {self.log.read_text()[-2000:]}")
        return self

    def _web_answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.web), timeout=5).close()
        except OSError:
            return False
        return True

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the service alone: its children must see to themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def status(self) -> dict:
        command = [sys.executable, "-m", "dicom_pipeline", "status", "--json", "--config", self.config]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)

    def wait_settled(self, instances: int, seconds: float = 120) -> dict:
        """The account once `instances` have come and nothing is waiting, ready or being processed or delivered."""

        def settled():
            account = self.status()
            states = {r["state"] for r in account["revisions"]}
            pending = any("pending" in states for states in account["deliveries"].values())
            done = account["totals"]["instances"] >= instances and not account["totals"]["waiting"] and not pending
            return account if done and states <= {"done", "no-label", "no-image", "failed"} else None

        return wait_until(settled, seconds, f"not settled: {self.log.read_text()[-3000:]}")

    def dcmsend(self, *paths: Path) -> subprocess.CompletedProcess:
        """Send with dcmtk's dcmsend."""
        command = [need("dcmsend"), "--verbose", "-aec", "DICOMPIPE", "--scan-directories", "--recurse", "--no-halt"]
        command += ["--no-uid-checks", "--decompress-never", "127.0.0.1", str(self.port), *map(str, paths)]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
