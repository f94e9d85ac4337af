"""A real service whose worker is stopped: /ready and `status` say so, it is replaced, studies go on; systemd hears of it."""

import http.client
import json
import os
import re
import signal
import socket

import pytest

from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.planning import scan
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system


def ready(service: Service):
    connection = http.client.HTTPConnection("127.0.0.1", service.web, timeout=30)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_worker_that_is_stopped_is_replaced(tmp_path, sample_data):
    service = Service(tmp_path / "service")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        service.environment = {
            "DICOM_PIPELINE_SERVICE__SILENT_SECONDS": "10",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "4000000",
        }
        service.start()
        try:
            assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
            wait_until(lambda: ready(service)[1]["processes"]["worker"] == "running", 120, "the worker does not run")
            (pid,) = re.findall(r"worker\[(\d+)\].* is ready", service.log.read_text())
            os.kill(int(pid), signal.SIGSTOP)
            _, values = wait_until(lambda: (found := ready(service))[0] == 503 and found, 60, "/ready does not say so")
            assert values["processes"]["worker"] == "silent"
            assert values["reasons"] == values["silent"]
            assert values["silent"][0].startswith("the worker is silent: it made no progress for ")
            told = wait_until(
                lambda: (
                    "worker made no progress for 10 s" in service.log.read_text()
                    or service.status()["service"]["silent"]
                ),
                60,
                "status does not say so",
            )
            assert told
            wait_until(lambda: ready(service)[1]["processes"]["worker"] == "running", 120, "it is not started again")
            paths = sorted((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))
            headers = [header for members in scan(paths).studies.values() for header in members]
            send_instances(headers, "DICOMPIPE", "127.0.0.1", service.port, "TEST")
            account = service.wait_settled(len(headers))
            assert [r["state"] for r in account["revisions"]] == ["done"]
            assert account["service"]["state"] == "running"
            os.kill(service.process.pid, signal.SIGSTOP)  # now the supervisor hangs: systemd hears no more
            manager.setblocking(False)
            while True:
                try:
                    assert manager.recv(100) == b"WATCHDOG=1"
                except BlockingIOError:
                    break
            manager.settimeout(4)
            with pytest.raises(TimeoutError):
                manager.recv(100)
            os.kill(service.process.pid, signal.SIGCONT)
            assert manager.recv(100) == b"WATCHDOG=1"
            assert service.stop() == 0
        finally:
            if service.process.poll() is None:
                service.process.send_signal(signal.SIGCONT)
                service.kill()
