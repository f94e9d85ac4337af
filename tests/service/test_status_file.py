"""What `status` and systemd are told of the service while it runs, when it hangs, and when it is gone."""

import errno
import os
import socket
import time
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.cli.app import app
from dicom_pipeline.service.health import ChildState, State
from dicom_pipeline.service.status_file import EVERY_SECONDS, LATE_SECONDS, NAME, StatusFile, service_status, states_of
from dicom_pipeline.service.systemd import PART, SOCKET, SPAN, Systemd

GOOD = {"listener": ChildState(State.RUNNING), "worker": ChildState(State.RUNNING)}
HUNG = {**GOOD, "worker": ChildState(State.SILENT, "worker", 301.0)}


def status(folder: Path):
    Catalog(folder / "catalog.sqlite").close()
    (folder / "pipeline.toml").write_text(f'[spool]\nfolder = "{folder}"\n')
    result = CliRunner().invoke(app, ["status", "--config", str(folder / "pipeline.toml")])
    return result.exit_code, " ".join(result.stdout.split())


def test_a_service_that_runs_or_hangs_or_is_gone(tmp_path):
    assert service_status(tmp_path)["state"] == "not-running"
    code, text = status(tmp_path)
    assert code == 1, "a service that does not run is not well"
    assert "service not-running" in text
    assert "NEEDS A PERSON: the service does not run" in text
    status_file = StatusFile(tmp_path)
    status_file.write(GOOD, 100.0)
    code, text = status(tmp_path)
    assert code == 0
    assert "service running, listener running, worker running" in text
    status_file.write(HUNG, 100.25)  # another state is written at once
    code, text = status(tmp_path)
    assert code == 1
    assert "worker silent" in text
    assert "NEEDS A PERSON: the worker is silent: it made no progress for 301 s" in text
    status_file.remove()
    assert service_status(tmp_path)["state"] == "not-running"


def test_what_happened_in_a_process_is_shown_at_once(tmp_path):
    status_file = StatusFile(tmp_path)
    status_file.write(GOOD, 100.0)
    assert "render processes" not in status(tmp_path)[1]
    worker = ChildState(State.RUNNING, incidents={"render-processes-crashed": 2})
    status_file.write({**GOOD, "worker": worker}, 100.25)
    assert service_status(tmp_path)["incidents"] == {"render-processes-crashed": 2}
    code, text = status(tmp_path)
    assert code == 0
    assert "2 render processes crashed since the worker started" in text


def test_a_supervisor_without_a_word_is_silent(tmp_path):
    status_file = StatusFile(tmp_path)
    status_file.write(GOOD, 100.0)
    past = time.time() - LATE_SECONDS - 5
    os.utime(tmp_path / NAME, (past, past))
    assert service_status(tmp_path)["state"] == "silent"
    code, text = status(tmp_path)
    assert code == 1
    assert "wrote no status for 65 s" in text
    status_file.write(GOOD, 100.0 + EVERY_SECONDS - 1)
    assert service_status(tmp_path)["state"] == "silent"
    status_file.write(GOOD, 100.0 + EVERY_SECONDS)
    assert service_status(tmp_path)["state"] == "running"


def test_a_full_disk_makes_no_service_silent(tmp_path, monkeypatch, caplog):
    status_file = StatusFile(tmp_path)
    status_file.write(GOOD, 100.0)
    past = time.time() - LATE_SECONDS - 5
    os.utime(tmp_path / NAME, (past, past))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    status_file.write(GOOD, 200.0)
    assert service_status(tmp_path)["state"] == "running"
    status_file.write(HUNG, 201.0)
    assert "cannot write service.json: No space left on device" in caplog.text


def test_pages_see_the_processes_and_a_supervisor_that_hangs(tmp_path):
    assert states_of(tmp_path) == {}
    status_file = StatusFile(tmp_path)
    status_file.write(HUNG, 100.0)
    assert states_of(tmp_path) == {**HUNG, "supervisor": ChildState(State.RUNNING)}
    past = time.time() - LATE_SECONDS - 1
    os.utime(tmp_path / NAME, (past, past))
    assert states_of(tmp_path)["supervisor"].sentence("supervisor").startswith("the supervisor is silent: it made no")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, monkeypatch, abstract):
    name = f"@{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv(SOCKET, name)
        monkeypatch.setenv(SPAN, "8000000")
        systemd = Systemd()
        systemd.ready()
        assert manager.recv(100) == b"READY=1"
        for now in (0.0, 1.0, 8.0 / PART):
            systemd.alive(now)
        assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_a_systemd_that_does_not_read_holds_nothing_up(tmp_path, monkeypatch, caplog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv(SOCKET, str(tmp_path / "notify"))
        monkeypatch.setenv(SPAN, "4000000")
        systemd = Systemd()
        for second in range(2000):  # more than a socket's queue takes
            systemd.alive(float(second))
    assert "systemd is not told WATCHDOG=1: Resource temporarily unavailable" in caplog.text


def test_without_systemd_or_its_watchdog_nothing_is_said(monkeypatch, caplog):
    monkeypatch.delenv(SOCKET, raising=False)
    monkeypatch.delenv(SPAN, raising=False)
    systemd = Systemd()
    systemd.ready()
    systemd.alive(1.0)
    monkeypatch.setenv(SOCKET, "/nowhere/notify")
    Systemd().alive(1.0)
    assert not caplog.text
    Systemd().ready()
    assert "systemd is not told READY=1: No such file or directory" in caplog.text
