"""An orderly stop: what can be finished in time is, the rest is handed back and counts no attempt."""

import threading
import uuid

import pytest

from dicom_pipeline.service.worker import Worker
from tests.peers.place import Place

pytestmark = pytest.mark.system

STATE = "SELECT state, attempts FROM revision"


@pytest.mark.parametrize(("seconds", "left"), [(0.0, ("ready", 0)), (600.0, ("done", 1))])
def test_a_study_that_is_under_way_when_the_worker_is_stopped(tmp_path, sample_data, seconds, left):
    place, stop = Place(tmp_path, sample_data), threading.Event()

    def progress() -> None:
        if place.query(STATE) == [("processing", 1)]:
            stop.set()

    Worker(place.settings, uuid.uuid4().hex, stop, progress=progress, stop_seconds=seconds).run()
    assert stop.is_set()
    assert place.query(STATE) == [left]
    if left[0] == "ready":
        stop.clear()
        Worker(place.settings, uuid.uuid4().hex, stop, progress=progress).run()
        assert place.query(STATE) == [("done", 1)]
