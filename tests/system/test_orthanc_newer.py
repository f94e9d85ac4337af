"""What Orthanc has got since 1.10.1, which no Debian package brings: by a stand-in that answers as the newer versions do."""

import contextlib
import importlib.util
import json
import sqlite3
import sys
import types

import pytest

from tests.peers.orthanc import OUR_PLUGIN

STUDY, SERIES, INSTANCE = "a-study", "a-series", "an-instance"


def stand_in(folder, resources, **options):
    """A module `orthanc` with REST resources (path -> JSON value), and what the plug-in registers with it."""
    made = types.ModuleType("orthanc")
    made.OrthancException = type("OrthancException", (Exception,), {})
    made.registered = {}

    def rest_api_get(path):
        if path not in resources:
            raise made.OrthancException(17, "Unknown resource")
        return json.dumps(resources[path]).encode()

    made.RestApiGet = rest_api_get
    made.GetConfiguration = lambda: json.dumps({"MedSigLIP": options})
    made.GetConfigurationPath = lambda: str(folder)
    made.RegisterRestCallback = lambda path, callback: made.registered.update({path: callback})
    made.RegisterOnChangeCallback = made.ExtendOrthancExplorer = made.LogError = lambda _: None
    names = ("UNKNOWN_RESOURCE", "INEXISTENT_ITEM", "INEXISTENT_FILE", "CORRUPTED_FILE", "REGULAR_FILE_EXPECTED")
    made.ErrorCode = types.SimpleNamespace(**dict(zip(names, (17, 7, 14, 10, 11), strict=True)))
    made.ChangeType = made.ResourceType = types.SimpleNamespace()
    return made


def load(monkeypatch, orthanc):
    """The plug-in as Orthanc loads it."""
    monkeypatch.setitem(sys.modules, "orthanc", orthanc)
    spec = importlib.util.spec_from_file_location("plug_in", OUR_PLUGIN)
    plug_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plug_in)
    return plug_in


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
def test_a_rule_asks_for_labels(monkeypatch, tmp_path, labels, wanted, fits):
    held = resources(labels or [])
    if labels is None:  # Orthanc before 1.12
        del held[f"/studies/{STUDY}/labels"]
    plug_in = load(monkeypatch, stand_in(tmp_path, held, Rules=[{"Label": wanted}]))
    content = plug_in.Content(STUDY)
    assert [one["ID"] for one in content.fitting(plug_in.read_configuration())] == [SERIES] * fits


class Output:
    """The plug-in's answer as version 4.2 of the Python plugin takes it: a status and the body alone."""

    def __init__(self):
        self.headers = {}

    def SendHttpStatus(self, status, body, /):  # noqa: N802 - Orthanc's name
        self.status, self.body = status, body

    def SetHttpHeader(self, name, value):  # noqa: N802 - Orthanc's name
        self.headers[name] = value


def test_errors_are_json_with_the_newer_signature(monkeypatch, tmp_path):
    orthanc = stand_in(tmp_path, {})
    load(monkeypatch, orthanc)
    output = Output()
    (serve,) = orthanc.registered.values()
    serve(output, "/medsiglip/studies/nothing/status", method="GET", get={})
    assert output.status == 404
    assert json.loads(output.body)["error"] == "Orthanc holds no such study"
    assert output.headers["Content-Type"] == "application/json"


def test_a_queue_of_an_earlier_version_is_taken_over(monkeypatch, tmp_path):
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
    plug_in = load(monkeypatch, stand_in(tmp_path, {}))
    for _ in range(2):
        queue = plug_in.Queue(str(path))
        assert queue.cursor() == 7
        row = queue.next_due()
        assert (row["study"], row["uid"], row["transfers"]) == ("a-study", "", 0)
    queue.want("a-study")
    assert queue.next_due()["force"] == 1


def test_a_deleted_study_is_not_let_go_while_orthanc_still_sends_it(monkeypatch, tmp_path):
    """What arrives after the announcement was taken back would leave the study waiting for what never comes."""
    held = {"/jobs/a-job": {"State": "Running"}}
    plug_in = load(monkeypatch, stand_in(tmp_path, held, QueueFile=str(tmp_path / "queue.sqlite")))
    worker = plug_in.Worker(plug_in.read_configuration())
    announced = []
    monkeypatch.setattr(worker, "_held", lambda _: ["1.2.3.4.1", "1.2.3.4.2"])
    monkeypatch.setattr(worker, "_announce", lambda *what: announced.append(what))
    worker.queue.want("a-study")
    worker.queue.finish("a-study", None, uid="1.2.3", transfer="a-job", expected=25)
    worker._release(worker.queue.row("a-study"))
    assert announced == []
    assert worker.queue.row("a-study")["due"] is not None
    held["/jobs/a-job"] = {"State": "Success", "Content": {}}
    worker._attempt(worker._follow_transfer, worker.queue.row("a-study"))
    assert announced == [("1.2.3", 2)]
    assert worker.queue.row("a-study") is None
