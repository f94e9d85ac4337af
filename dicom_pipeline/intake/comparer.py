"""The process that compares files for a service: decoders meet hostile bytes here, not where instances are received.

It reads questions from standard input, a line of JSON with two paths each, and answers each with a line. What takes too long
or too much memory, and a decoder that crashes, ends it; who asked then has no answer.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
from pathlib import Path

from dicom_pipeline.dicom.sameness.content import same_content

SAME, OTHER = b"same\n", b"other\n"
MAX_SECONDS = 20
"""For one comparison; the sender waits for it."""

MAX_MEMORY_BYTES = 3 * 1024**3
IDLE_SECONDS = 60.0
"""Without a question, after which the process ends by itself."""


def answer_questions() -> None:
    """Answer until standard input ends or nothing has been asked for a while."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the end of standard input says when to stop
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold patient data
    questions, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a decoder prints is no answer
    while select.select([questions], [], [], IDLE_SECONDS)[0]:
        line = questions.readline()
        if not line:
            return
        signal.alarm(MAX_SECONDS)  # its default action ends the process, wherever it is
        first, second = map(Path, json.loads(line))
        answers.write(SAME if same_content(first, second) else OTHER)
        signal.alarm(0)
