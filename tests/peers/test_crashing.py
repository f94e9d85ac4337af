"""Processes that a fault point kills may die before they say that they are ready."""

import signal

import pytest

from dicom_pipeline import faults
from tests.peers.crashing import _start


def dies_while_it_starts(place, port, fault, says):
    faults.arm(fault)
    faults.passing("claimed")


def test_a_process_that_its_point_kills_at_once_was_started(tmp_path):
    process = _start(dies_while_it_starts, tmp_path, 0, "claimed:1")
    assert process.exitcode == -signal.SIGKILL


def test_one_that_ends_by_itself_was_not(tmp_path):
    with pytest.raises(AssertionError, match="ended with 0"):
        _start(dies_while_it_starts, tmp_path, 0, "")
