"""How long a process has stood still: counted part by part, and only while whoever counts was running itself."""

import multiprocessing

import pytest

from dicom_pipeline.service.heartbeat import MAX_LOOK_SECONDS, Heartbeat, StallDetector


def test_each_part_counts_by_itself():
    stalls = StallDetector()
    stalls.look({"pacs": 1, "files": 1}, 100.0)
    assert stalls.longest[1] == 0.0
    stalls.look({"pacs": 1, "files": 2}, 101.0)
    stalls.look({"pacs": 1, "files": 3}, 102.0)
    assert stalls.longest == ("pacs", 2.0)
    stalls.look({"pacs": 2, "files": 3}, 103.0)
    assert stalls.longest == ("files", 1.0)


def test_a_frozen_container_or_machine_is_no_silence_of_its_processes():
    stalls = StallDetector()
    stalls.look({"worker": 1}, 100.0)
    stalls.look({"worker": 1}, 100_000.0)
    assert stalls.longest == ("worker", MAX_LOOK_SECONDS)


def test_what_is_not_watched_is_never_silent():
    stalls = StallDetector()
    stalls.look({}, 100.0)
    stalls.look({}, 101.0)
    assert stalls.longest == ("", 0.0)


def test_signs_are_seen_as_they_are_given():
    heartbeat = Heartbeat(multiprocessing.get_context("spawn"), ("accepting", "committing"))
    assert not heartbeat.is_ready
    heartbeat.ready()  # what a process did while it started is over
    assert heartbeat.is_ready
    assert heartbeat.counts == {"accepting": 1, "committing": 1}
    heartbeat.beat("committing")
    assert heartbeat.counts == {"accepting": 1, "committing": 2}
    with pytest.raises(ValueError, match="tuple"):
        heartbeat.beat("other")
    assert Heartbeat(multiprocessing.get_context("spawn"), ()).counts == {}


def test_incidents_are_counted_by_the_child_and_what_has_not_happened_is_left_out():
    heartbeat = Heartbeat(multiprocessing.get_context("spawn"), (), ("crashed", "out-of-time"))
    assert heartbeat.incidents == {}
    heartbeat.record({"crashed": 2, "out-of-time": 0})
    assert heartbeat.incidents == {"crashed": 2}
