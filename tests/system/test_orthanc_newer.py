"""What Orthanc has got since 1.10.1, which no Debian package brings: by a stand-in that answers as the newer versions do."""

import contextlib
import json
import sqlite3

import pytest

from tests.peers.orthanc_module import OrthancModule, loaded

STUDY, SERIES, INSTANCE = "a-study", "a-series", "an-instance"


def resources(labels):
    tags = {"SeriesInstanceUID": "1.2.3.4", "Modality": "CT"}
    return {
        f"/studies/{STUDY}": {"ID": STUDY, "MainDicomTags": {"StudyInstanceUID": "1.2.3"}, "Labels": labels},
        f"/studies/{STUDY}/labels": labels,
        f"/studies/{STUDY}/series": [{"ID": SERIES, "Instances": [INSTANCE], "MainDicomTags": tags}],
    }


@pytest.mark.parametrize(
    ("labels", "wanted", "fits"),
    [
        (["research"], "research", True),
        (["research", "b"], ["a", "b"], True),
        ([], "research", False),
        (None, "a", False),
    ],
)
def test_a_rule_asks_for_labels(tmp_path, labels, wanted, fits):
    held = resources(labels or [])
    if labels is None:  # Orthanc before 1.12
        del held[f"/studies/{STUDY}/labels"]
    with loaded(OrthancModule(tmp_path, held, Rules=[{"Label": wanted}])) as plug_in:
        content = plug_in.StudyContent(STUDY)
        assert [one["ID"] for one in content.matching(plug_in.read_configuration())] == [SERIES] * fits


class Output:
    """The plug-in's answer as version 4.2 of the Python plugin takes it: a status and the body alone."""

    def __init__(self):
        self.headers = {}

    def SendHttpStatus(self, status, body, /):  # noqa: N802 - Orthanc's name
        self.status, self.body = status, body

    def SetHttpHeader(self, name, value):  # noqa: N802 - Orthanc's name
        self.headers[name] = value


def test_errors_are_json_with_the_newer_signature(tmp_path):
    orthanc, output = OrthancModule(tmp_path), Output()
    with loaded(orthanc):
        (serve,) = orthanc.registered.values()
        serve(output, "/medsiglip/studies/nothing/status", method="GET", get={})
    assert output.status == 404
    assert json.loads(output.body)["error"] == "Orthanc holds no such study"
    assert output.headers["Content-Type"] == "application/json"


def test_a_queue_of_an_earlier_version_is_taken_over(tmp_path):
    """Columns that came later are added; what waited goes on."""
    path = tmp_path / "queue.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(
            "CREATE TABLE cursor (seq INTEGER NOT NULL); INSERT INTO cursor VALUES (7);"
            "CREATE TABLE job (study TEXT PRIMARY KEY, wanted INTEGER NOT NULL DEFAULT 0, force INTEGER NOT NULL DEFAULT 0,"
            "state TEXT NOT NULL DEFAULT 'queued', message TEXT NOT NULL DEFAULT '', due REAL,"
            "attempts INTEGER NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '', expected INTEGER NOT NULL DEFAULT 0,"
            "sent_at REAL NOT NULL DEFAULT 0, reports INTEGER NOT NULL DEFAULT 0, transfer TEXT NOT NULL DEFAULT '');"
            "INSERT INTO job (study, wanted, due) VALUES ('a-study', 1, 5.0);"
        )
    with loaded(OrthancModule(tmp_path)) as plug_in:
        for _ in range(2):
            queue = plug_in.StudyQueue(str(path))
            assert queue.cursor() == 7
            row = queue.next_due()
            assert (row.study, row.uid, row.transfers) == ("a-study", "", 0)
        queue.request("a-study")
        assert queue.next_due().force == 1
