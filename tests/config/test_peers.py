"""[[peers]]: one remote system written once, and the older tables that are still read."""

import json

import pytest

from dicom_pipeline.config import DicomPeer, load_settings
from dicom_pipeline.errors import ConfigError

NEW = """
[listener]
tls_certificate = "ours.pem"
tls_key = "ours.key"
tls_ca = "ca.pem"

[[peers]]
type = "orthanc"
name = "archive"
roles = ["deliver", "fetch"]
url = "http://127.0.0.1:8042"
username = "anna"

[peers.deliver]
verify = "none"
modalities = ["CT"]

[peers.fetch]
modalities = ["CT", "MR"]
settle_seconds = 9

[[peers]]
type = "dicom"
name = "pacs"
roles = ["deliver"]
ae_title = "PACS"
host = "h"
port = 104

[peers.deliver]
verify = "commitment"
give_up_hours = 2

[[peers]]
type = "dicom"
name = "CT-1"
roles = ["commit"]
ae_title = "CT 1"
host = "ct1"
port = 105
tls = true
tls_certificate = "ours.pem"
tls_key = "ours.key"
tls_ca = "ca.pem"
"""
OLD = """
[listener]
tls_certificate = "ours.pem"
tls_key = "ours.key"
tls_ca = "ca.pem"

[[listener.peers]]
ae_title = "CT 1"
host = "ct1"
port = 105
tls = true

[[destinations]]
type = "orthanc"
name = "archive"
url = "http://127.0.0.1:8042"
username = "anna"
verify = false
modalities = ["CT"]

[[destinations]]
type = "dicom"
name = "pacs"
ae_title = "PACS"
host = "h"
port = 104
verify = "commitment"
give_up_hours = 2

[[sources]]
name = "archive"
url = "http://127.0.0.1:8042"
username = "anna"
modalities = ["CT", "MR"]
settle_seconds = 9
"""


def loaded(folder, text):
    (folder / "pipeline.toml").write_text(text)
    return load_settings(folder / "pipeline.toml")


def test_the_older_tables_mean_what_they_meant_and_say_what_to_change(tmp_path, caplog):
    now = loaded(tmp_path, NEW)
    assert not caplog.records
    before = loaded(tmp_path, OLD)
    assert before == now
    said = [record.getMessage() for record in caplog.records]
    assert ["[[destinations]]" in said[0], "[[sources]]" in said[1], "[[listener.peers]]" in said[2]] == [True] * 3
    assert all("pipeline.toml" in line and "[[peers]]" in line for line in said)


def test_the_roles_of_a_peer(tmp_path):
    settings = loaded(tmp_path, NEW)
    assert [peer.name for peer in settings.delivering] == ["archive", "pacs"]
    assert [peer.name for peer in settings.fetching] == ["archive"]
    assert [peer.name for peer in settings.committing] == ["CT-1"]


def test_a_source_that_is_another_orthanc_stays_a_peer_of_its_own(tmp_path):
    settings = loaded(
        tmp_path, OLD.replace('8042"\nusername = "anna"\nmodalities', '8043"\nusername = "anna"\nmodalities')
    )
    assert [(peer.name, peer.roles) for peer in settings.peers[:1]] == [("archive", ("deliver",))]
    assert [(peer.name, peer.url, peer.roles) for peer in settings.fetching] == [
        ("archive", "http://127.0.0.1:8043", ("fetch",))
    ]


def test_older_tables_of_the_environment_are_read_too(tmp_path, monkeypatch):
    table = [{"type": "folder", "name": "files", "path": "/reports", "objects": ["pdf"]}]
    monkeypatch.setenv("DICOM_PIPELINE_DESTINATIONS", json.dumps(table))
    assert loaded(tmp_path, "").delivering[0].deliver.objects == ("pdf",)
    monkeypatch.setenv("DICOM_PIPELINE_DESTINATIONS", "[")
    with pytest.raises(ConfigError, match="DICOM_PIPELINE_DESTINATIONS is not valid JSON"):
        loaded(tmp_path, "")


@pytest.mark.parametrize("place", ["file", "environment"])
def test_the_threads_that_rendered_are_read_as_processes(tmp_path, monkeypatch, caplog, place):
    if place == "environment":
        monkeypatch.setenv("DICOM_PIPELINE_ENCODER__RENDER_THREADS", "3")
    settings = loaded(tmp_path, "" if place == "environment" else "[encoder]\nrender_threads = 3\nthreads = 2\n")
    assert settings.rendering.processes == 3
    assert settings.encoder.threads == (None if place == "environment" else 2)
    assert "encoder.render_threads is now rendering.processes" in caplog.text


FOLDER = '[[peers]]\ntype = "folder"\nname = "files"\npath = "out"\n'
ORTHANC = '[[peers]]\ntype = "orthanc"\nname = "o"\nurl = "http://h"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FOLDER + 'roles = ["fetch"]\n', "peers.files.roles.0: Input should be 'deliver'"),
        (FOLDER + "roles = []\n", "peers.files.roles"),
        (FOLDER + FOLDER, 'role "deliver" need different names, found twice: files'),
        (FOLDER + "port = 1\n", "peers.files.port: no such setting"),
        (FOLDER + '[peers.deliver]\nobject = "pdf"\n', "peers.files.deliver.object: no such setting"),
        (
            ORTHANC + "[peers.fetch]\nsettle_seconds = 1\n",
            r'peers.o: \[peers.fetch\] is set, but roles does not name "fetch"',
        ),
        (ORTHANC + 'roles = ["fetch"]\n[peers.deliver]\nverify = "none"\n', 'does not name "deliver"'),
        (ORTHANC + 'roles = ["fetch"]\n[peers.fetch]\ndescription = "("\n', "expected a regular expression"),
        ('[[peers]]\ntype = "fax"\nname = "f"\n', 'peers.f: each of .* needs a type: "dicom", "dicomweb"'),
        ("[[peers]]\n", "peers.0: each of .* needs a type"),
        ("destinations = 3\n", "destinations: no such setting"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_wrong(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        loaded(tmp_path, text)


def test_tls_is_on_where_either_setting_says_so():
    values = {"type": "dicom", "name": "n", "ae_title": "A", "host": "h", "port": 1}
    assert not DicomPeer(**values).uses_tls
    assert DicomPeer(**values, tls=True).uses_tls
    assert DicomPeer(**values, tls_ca="ca.pem").uses_tls
