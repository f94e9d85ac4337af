"""A child that cannot be started is tried again later; one that was well for long is started again at once."""

import multiprocessing
import os
import resource
import time

import pytest

from dicom_pipeline.service import child as child_module
from dicom_pipeline.service.child import Child
from dicom_pipeline.service.health import State
from dicom_pipeline.service.supervisor import _end
from tests.peers.hanging import kept
from tests.peers.place import Place
from tests.peers.programs import wait_until

CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture
def settings(tmp_path, sample_data):
    return Place(tmp_path, sample_data).settings


@pytest.fixture
def no_file_handles():
    """No file can be opened until the end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(taken), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    for descriptor in taken:
        os.close(descriptor)


def wait_quietly(settings, owner, heartbeat):
    del settings, owner
    heartbeat.ready()
    time.sleep(600)


def test_without_file_handles_it_is_down_says_why_and_is_tried_again(settings, no_file_handles, caplog):
    child = Child("listener", wait_quietly, ("accepting",))
    child.keep(settings, "run", CONTEXT)
    assert child.state.state is State.DOWN
    assert child.state.sentence("listener") == "the listener is down: it cannot be started: Too many open files"
    first = child.start_at
    child.start_at = 0.0
    child.keep(settings, "run", CONTEXT)
    assert child.start_at > first, "no longer wait for the second time"
    _end([child])  # never started: there is nothing to end, and nothing raises
    assert caplog.text.count("listener cannot be started: Too many open files; again in") == 2


def test_it_starts_once_there_are_file_handles_again(settings, monkeypatch):
    child = Child("listener", wait_quietly, ("accepting",))
    child.why_down, child.deaths = "cannot be started: Too many open files", 3
    with kept(child, settings):
        wait_until(lambda: child.state.state is State.RUNNING, 60, "it does not run")
        assert child.state.why == ""


def test_a_child_that_was_well_for_long_is_started_again_at_once(settings, monkeypatch):
    monkeypatch.setattr(child_module, "HEALTHY_SECONDS", 0.2)
    child = Child("listener", wait_quietly, ("accepting",), deaths=9)
    with kept(child, settings):
        wait_until(lambda: child.ready_at is not None, 60, "it is not ready")
        time.sleep(0.5)
        child.process.kill()
        wait_until(lambda: child.deaths == 1, 30, "its deaths of long ago count")
