"""What cannot work is said before anything starts: in words, with exit status 2, and no process is left behind."""

import json
import os
import subprocess
import sys
import threading

import pytest

from dicom_pipeline.config import load_settings
from dicom_pipeline.disk import write_problem
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.maintenance.doctor import examine
from dicom_pipeline.service.starting.announcement import announce
from dicom_pipeline.service.starting.checks import check_settings
from dicom_pipeline.service.supervisor import serve
from tests.cli.test_cli import run_unprivileged
from tests.peers.certificates import Authority
from tests.peers.programs import free_port, wait_until

DICOM = '[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "P"\nhost = "h"\nport = 104\n'
WEB = '[[peers]]\ntype = "dicomweb"\nname = "web"\nurl = "https://pacs.example/dicom-web"\n'


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('[encoder]\nmodel = "./nowhere"\n', "no encoder"),
        ('[scoring]\nlabel_set = "no-such-set"\n', "no-such-set"),
        ('[scoring]\nprobes = ["no-such-probe"]\n', "no-such-probe"),
        ('[planning]\npreset = "no-such-preset"\n', "no-such-preset"),
        ('[planning]\nrules_file = "no-such-rules.toml"\n', "no-such-rules.toml"),
        ('[scoring]\nlabel_sets = ["ct-chest", "gone.toml"]\n', "gone.toml"),
        (f'{DICOM}tls_ca = "gone.pem"\n', "peers.pacs.tls_ca = "),
        (f'{DICOM}tls_ca = "junk.pem"\n', "junk.pem: expected a PEM file with BEGIN CERTIFICATE"),
        (f'{WEB}tls_ca = "gone.pem"\n', "gone.pem: No such file or directory"),
        (f'{WEB}tls_certificate = "junk.pem"\ntls_key = "junk.pem"\n', "peers.web.tls_certificate = "),
        ('[audit]\nsyslog = "tls"\nsyslog_ca = "gone.pem"\n', "audit.syslog_ca = "),
    ],
)
def test_settings_that_the_worker_could_not_use(tmp_path, settings, words):
    (tmp_path / "junk.pem").write_text("junk")
    config = tmp_path / "pipeline.toml"
    config.write_text(f'[listener]\nport = {free_port()}\n[spool]\nfolder = "data"\n{settings}')
    command = [sys.executable, "-m", "dicom_pipeline", "serve", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "catalog.sqlite").exists()


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("gone.pem", "key.pem", "listener.tls_certificate = {0}/gone.pem: No such file or directory"),
        ("cert.pem", "gone.pem", "listener.tls_key = {0}/gone.pem: No such file or directory"),
        ("cert.pem", "cert.pem", "listener.tls_key = {0}/cert.pem: expected a PEM file with PRIVATE KEY"),
        ("cert.pem", "other.pem", "the key does not belong to the certificate"),
    ],
)
def test_tls_files_of_the_listener_are_named(tmp_path, certificate, key, words):
    authority = Authority(tmp_path / "authority")
    for name, keys in (("cert.pem", "key.pem"), ("unused.pem", "other.pem")):
        for file, path in zip((name, keys), authority.issue(name.partition(".")[0]), strict=True):
            (tmp_path / file).write_bytes(path.read_bytes())
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f'[listener]\nport = {free_port()}\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        '[spool]\nfolder = "data"\n[service]\nweb_port = 0\n'
    )
    with pytest.raises(ConfigError) as caught:
        check_settings(load_settings(config))
    assert words.format(tmp_path) in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o555)
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f'[listener]\nport = {free_port()}\n[spool]\nfolder = "{shut}/data"\n[service]\nweb_port = 0\n[audit]\nwrite = false\n'
    )
    done = run_unprivileged("serve", "--config", config)
    assert done.returncode == 2, done.stderr
    assert f"spool.folder: {shut}/data cannot be written: Permission denied" in done.stderr
    done = run_unprivileged("doctor", "--config", config, "--json")
    (disk,) = [check for check in json.loads(done.stdout) if check["check"].startswith("disk of")]
    assert (disk["ok"], disk["says"]) == (False, f"{shut}/data cannot be written: Permission denied")


def test_a_trial_leaves_nothing_there(tmp_path):
    assert write_problem(tmp_path / "a" / "b") == ""
    (tmp_path / "there").mkdir()
    assert write_problem(tmp_path / "there") == ""
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "there"]
    (tmp_path / "file").write_text("")
    assert write_problem(tmp_path / "file") == f"{tmp_path}/file cannot be written: Not a directory"


def test_the_start_says_what_will_be_done(tmp_path, caplog):
    config = tmp_path / "pipeline.toml"
    peers = (
        f'{DICOM}[[peers]]\ntype = "orthanc"\nname = "o"\nurl = "http://user:secret@[::1]:8042/o"\nroles = ["fetch"]\n'
    )
    config.write_text(f'[spool]\nfolder = "data"\n[scoring]\nlabel_sets = ["ct-chest", "cxr-13"]\n{peers}')
    with caplog.at_level("INFO"):
        announce(load_settings(config))
    assert [record.getMessage() for record in caplog.records] == [
        "model: phantom, device auto",
        "label sets: ct-chest, cxr-13",
        "listener: DICOMPIPE@127.0.0.1:11112",
        "peer pacs: P@h:104, deliver",
        "peer o: orthanc http://[::1]:8042/o, fetch",
        "pages: http://127.0.0.1:8448/",
        f"folder: {tmp_path / 'data'}",
    ]
    caplog.clear()
    config.write_text('[spool]\nfolder = "data"\n[service]\nweb_port = 0\n')
    with caplog.at_level("INFO"):
        announce(load_settings(config))
    assert "pages: none" in caplog.text
    assert [r.levelname for r in caplog.records if "no destination" in r.getMessage()] == ["WARNING"]


def test_the_start_leaves_what_a_running_backfill_receives(tmp_path):
    """Its process is there; what a process left that has ended goes."""
    config = tmp_path / "pipeline.toml"
    config.write_text(f'[listener]\nport = {free_port()}\n[spool]\nfolder = "data"\n[service]\nweb_port = 0\n')
    spool = Spool(tmp_path / "data")
    coming = spool.receive(b"header")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "data" / "incoming" / f"{gone.pid}-left-0").write_bytes(b"half")
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(load_settings(config), stop))
    thread.start()
    try:
        wait_until((tmp_path / "data" / "service.json").exists, 60, "the service does not start")
    finally:
        stop.set()
        thread.join(90)
    assert [path.name.partition("-")[0] for path in (tmp_path / "data" / "incoming").iterdir()] == [str(os.getpid())]
    coming.drop()


def test_what_ends_the_worker_is_said_in_status(tmp_path):
    """A hub model without a network: nobody can know before; log, `status` and `doctor` say it in the same words."""
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f'[listener]\nport = {free_port()}\n[spool]\nfolder = "data"\n[service]\nweb_port = 0\n'
        '[encoder]\nmodel = "nobody/no-such-model"\n'
    )
    away = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-m", "dicom_pipeline"]
    words = "nobody/no-such-model is not on this machine and the hub cannot be reached"
    with (tmp_path / "log").open("w") as log:
        service = subprocess.Popen([*command, "serve", "--config", config], stderr=log, env=away)
    try:
        wait_until(lambda: words in (tmp_path / "log").read_text(), 120, "the log does not say so")

        def told():
            done = subprocess.run([*command, "status", "--config", config], capture_output=True, text=True, check=False)
            return (
                done.returncode == 1 and f"NEEDS A PERSON: the worker is down: it ended with 1: {words}" in done.stdout
            )

        wait_until(told, 60, "status does not say so")
    finally:
        service.terminate()
        service.wait(60)
    doctor = [*command, "doctor", "--json", "--config", config]
    done = subprocess.run(doctor, capture_output=True, text=True, env=away, check=False)
    assert any(words in check["says"] and not check["ok"] for check in json.loads(done.stdout))


def test_doctor_names_a_missing_label_set(tmp_path):
    config = tmp_path / "pipeline.toml"
    config.write_text('[spool]\nfolder = "data"\n[scoring]\nlabel_set = "gone.toml"\n')
    checks = dict(examine(load_settings(config)))
    good, says = checks["label sets, probes and rules"]
    assert not good
    assert "gone.toml" in says
