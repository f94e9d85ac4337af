"""How long a process has stood still: counted part by part, and only while whoever counts was running itself."""

import multiprocessing

import pytest

from dicom_pipeline.service.heartbeat import MOST_BETWEEN_LOOKS, Signs, Watch


def test_each_part_counts_by_itself():
    watch = Watch()
    watch.look({"pacs": 1, "files": 1}, 100.0)
    assert watch.longest[1] == 0.0
    watch.look({"pacs": 1, "files": 2}, 101.0)
    watch.look({"pacs": 1, "files": 3}, 102.0)
    assert watch.longest == ("pacs", 2.0)
    watch.look({"pacs": 2, "files": 3}, 103.0)
    assert watch.longest == ("files", 1.0)


def test_a_frozen_container_or_machine_is_no_silence_of_its_processes():
    watch = Watch()
    watch.look({"worker": 1}, 100.0)
    watch.look({"worker": 1}, 100_000.0)
    assert watch.longest == ("worker", MOST_BETWEEN_LOOKS)


def test_what_is_not_watched_is_never_silent():
    watch = Watch()
    watch.look({}, 100.0)
    watch.look({}, 101.0)
    assert watch.longest == ("", 0.0)


def test_signs_are_seen_as_they_are_given():
    signs = Signs(multiprocessing.get_context("spawn"), ("accepting", "committing"))
    assert not signs.working
    signs.work()  # what a process did while it started is over
    assert signs.working
    assert signs.counts == {"accepting": 1, "committing": 1}
    signs.progress("committing")
    assert signs.counts == {"accepting": 1, "committing": 2}
    with pytest.raises(ValueError, match="tuple"):
        signs.progress("other")
    assert Signs(multiprocessing.get_context("spawn"), ()).counts == {}
