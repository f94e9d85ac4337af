"""Log lines: one line each, no control characters, and no words of exceptions, in every way a process can end."""

import json
import logging
import multiprocessing
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.errors import ConfigError
from dicom_pipeline.service.logs import JsonLine, OneLine, log_crash, places_of

SECRET = "Secret^Person"
SCRIPT = """
import logging, threading, sys
from dicom_pipeline.service.logs import set_up_logs
set_up_logs({form!r}, "DEBUG")
class Odd:
    def __del__(self):
        raise ValueError("Secret^Person in a clean-up")
def fail(name):
    raise ValueError(f"{{name}} is no number")
thread = threading.Thread(target=fail, args=("Secret^Person",), name="worker-thread")
thread.start()
thread.join()
made = Odd()
del made
try:
    try:
        fail("Secret^Person")
    except ValueError as error:
        raise KeyError("Secret^Person") from error
except KeyError:
    logging.getLogger("dicom_pipeline.x").exception("a study failed\\r\\nforged \\x1b[31m line")
logging.getLogger("pydicom").error("Secret^Person")
logging.getLogger("pynetdicom.dul").error("Secret^Person")
fail("Secret^Person")
"""


def written(form):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(form=form)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_way_to_end_tells_the_words_of_an_exception(form):
    lines = written(form)
    text = "\n".join(lines)
    assert "Secret" not in text
    assert len(lines) == 4
    for words in (
        "thread worker-thread ended: ValueError at",
        "a clean-up ended: ValueError at",
        "the process ended: ValueError at",
    ):
        assert words in text
    assert "KeyError at" in text
    assert "; from ValueError at" in text
    if form == "json":
        values = [json.loads(line) for line in lines]
        assert {"time", "level", "logger", "process", "message"} <= set(values[0])
        assert values[2]["message"] == "a study failed\\r\\nforged \\x1b[31m line"
    else:
        assert "a study failed\\r\\nforged \\x1b[31m line\\nKeyError at" in lines[2]


def end_badly(words):
    raise ValueError(words)


def test_a_child_process_ends_with_1_and_without_words(capfd):
    process = multiprocessing.get_context("spawn").Process(target=log_crash(end_badly), args=(SECRET,))
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert SECRET not in "".join(capfd.readouterr())


def want_another_port():
    raise ConfigError("listener.port 4242 on 127.0.0.1 cannot be used: Address already in use")


def test_a_child_process_says_what_is_wrong_in_the_settings(capfd):
    process = multiprocessing.get_context("spawn").Process(target=log_crash(want_another_port))
    process.start()
    process.join(60)
    assert process.exitcode == 1
    assert "listener.port 4242" in "".join(capfd.readouterr())


@given(st.text(max_size=60), st.sampled_from([OneLine("%(message)s"), JsonLine()]))
def test_any_message_is_one_line_without_control_characters(message, form):
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%s", (message,), None)
    line = form.format(record)
    assert len(line.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)


def test_an_exception_that_is_its_own_cause_ends():
    error = ValueError(SECRET)
    error.__cause__ = error
    assert places_of(error) == "ValueError at an unknown place"
    assert threading.active_count() >= 1
