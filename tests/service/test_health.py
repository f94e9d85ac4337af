"""/ready tells the truth: the listener listens, the worker is there, the disk has room, the catalog answers."""

import http.client
import json
import socket

import pytest

from dicom_pipeline.config import Settings
from dicom_pipeline.service.health import ChildState, State, readiness
from tests.peers.programs import wait_until
from tests.peers.service import Service

GOOD = {"listener": ChildState(State.RUNNING), "worker": ChildState(State.RUNNING)}


@pytest.fixture
def settings(tmp_path):
    return Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": None})


@pytest.mark.parametrize(
    ("states", "reasons"),
    [
        (GOOD, []),
        ({**GOOD, "worker": ChildState(State.STARTING)}, []),  # what comes while the model loads is kept
        ({**GOOD, "sender": ChildState(State.DOWN), "syslog": ChildState(State.DOWN)}, []),
        ({**GOOD, "worker": ChildState(State.DOWN)}, ["the worker is down"]),
        ({**GOOD, "listener": ChildState(State.STARTING)}, ["the listener is starting"]),
        (
            {"listener": ChildState(State.DOWN), "worker": ChildState(State.DOWN)},
            ["the listener is down", "the worker is down"],
        ),
        (
            {**GOOD, "worker": ChildState(State.SILENT, "worker", 301.2)},
            ["the worker is silent: it made no progress for 301 s"],
        ),
        (
            {**GOOD, "listener": ChildState(State.SILENT, "committing", 301.2)},
            ["the listener (committing) is silent: it made no progress for 301 s"],
        ),
        ({**GOOD, "sender": ChildState(State.SILENT, "pacs", 301.2)}, []),
        ({}, ["the listener is down", "the worker is down"]),
    ],
)
def test_what_must_be_there(settings, catalog, states, reasons):
    good, values = readiness(settings, catalog, states)
    assert (good, values["reasons"], values["status"]) == (not reasons, reasons, "not-ready" if reasons else "ready")
    assert values["processes"] == {name: child.state.value for name, child in states.items()}


def test_a_disk_below_its_watermark_is_not_ready(settings, catalog):
    full = settings.model_copy(update={"spool": settings.spool.model_copy(update={"min_free_bytes": 10**18})})
    assert readiness(full, catalog, GOOD)[1]["reasons"] == ["the disk is below spool.min_free_bytes"]


def ready(service):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", service.web, timeout=30)
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, {"reasons": []}
    finally:
        connection.close()


@pytest.mark.system
def test_a_service_whose_port_is_taken_is_not_ready_until_it_is_free(tmp_path):
    service = Service(tmp_path)
    with socket.create_server(("127.0.0.1", service.port)):
        service.start(lambda: any("listener" in reason for reason in ready(service)[1]["reasons"]))
        assert ready(service)[0] == 503
    try:
        wait_until(
            lambda: ready(service)[0] == 200, 120, f"not ready: {ready(service)} {service.log.read_text()[-2000:]}"
        )
        wait_until(lambda: ready(service)[1]["processes"]["worker"] == "running", 120, "the worker does not run")
    finally:
        assert service.stop() == 0


@pytest.mark.system
def test_a_service_whose_disk_is_full_says_so(tmp_path):
    service = Service(tmp_path)
    service.environment = {"DICOM_PIPELINE_SPOOL__MIN_FREE_BYTES": str(10**18)}
    service.start()
    try:
        status, values = ready(service)
        assert (status, values["reasons"]) == (503, ["the disk is below spool.min_free_bytes"])
    finally:
        assert service.stop() == 0
