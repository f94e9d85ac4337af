"""Rules for two senders, cleaning after delivery, conflicts, and a lost catalog: with the running service."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.planning import scan
from dicom_pipeline.reporting import read_report
from tests.peers.orthanc import Orthanc
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

FOLDER = '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
ALL_DELIVERED = {"files": {"delivered": 4}, "orthanc": {"delivered": 4}}
RULES = """
[[assembly.rules]]
name = "slow"
calling_ae_titles = ["SLOW"]
wanted_series = ["never sent"]
hard_cap_seconds = 3
at_hard_cap = "hold"

[[assembly.rules]]
name = "trash"
calling_ae_titles = ["TRASH"]
quiet_seconds = 600
hard_cap_seconds = 2
at_hard_cap = "discard"
"""


@pytest.fixture
def start(tmp_path):
    """Start a service with more settings and environment; it is stopped at the end."""
    started = []

    def begin(settings: str = "", **environment: str) -> Service:
        made = Service(tmp_path / "service", FOLDER + settings)
        made.environment = environment
        started.append(made)
        return made.start()

    yield begin
    for service in started:
        if service.process is not None and service.process.poll() is None:
            service.stop()


@pytest.fixture
def orthanc(tmp_path):
    made = Orthanc(tmp_path / "orthanc").start()
    yield made
    made.stop()


def ask(service: Service, method: str, path: str) -> tuple[int, dict]:
    """Status and JSON of one of the service's pages."""
    request = urllib.request.Request(f"http://127.0.0.1:{service.web}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def command(service: Service, *words: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "dicom_pipeline", *words, "--config", str(service.config)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def reports(service: Service) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (service.config.parent / "reports").glob("*.dcm")}


def states(service: Service) -> list[tuple]:
    """What the account says of each revision, to the instance."""
    names = ("study_instance_uid", "number", "state", "cause", "rule", "received", "used", "excluded", "failed")
    account = service.status()
    return [(*(r[name] for name in names), tuple(sorted(r["reasons"].items()))) for r in account["revisions"]]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def association(service: Service, calling: str, path: Path):
    """An open association that has sent one file."""
    image = pydicom.dcmread(path)
    entity = AE(ae_title=calling)
    entity.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
    opened = entity.associate("127.0.0.1", service.port, ae_title="DICOMPIPE")
    assert opened.send_c_store(image).Status == 0
    return opened


def test_senders_have_rules_of_their_own_and_may_share_a_study(start, sample_data):
    service = start(RULES)
    studies = sample_data / "studies"
    senders = {"SLOW": "mr-brain-normal", "TRASH": "cr-chest-normal", "OTHER": "cr-chest-effusion"}
    threads = [
        threading.Thread(
            target=send_instances,
            args=(scan([studies / name]).studies.popitem()[1], "DICOMPIPE", "127.0.0.1", service.port, sender),
        )
        for sender, name in senders.items()
    ]
    for thread in threads:
        thread.start()
    brain = files(studies / "mr-brain-lesion")
    first, second = (association(service, calling, path) for calling, path in zip("AB", brain, strict=False))
    for thread in threads:
        thread.join()
    uid = {name: str(pydicom.dcmread(files(studies / name)[0]).StudyInstanceUID) for name in senders.values()}
    shared = str(pydicom.dcmread(brain[0]).StudyInstanceUID)

    def rules() -> dict:
        return {r["study_instance_uid"]: (r["cause"], r["rule"], r["state"]) for r in service.status()["revisions"]}

    second.release()  # the other association is open: beyond its quiet time the shared study goes on waiting
    wait_until(lambda: rules().get(uid["cr-chest-effusion"], ("",) * 3)[2] == "done", 120, "the other study")
    wait_until(lambda: service.status()["held"], 60, "nothing is held")
    time.sleep(1.5)
    found = rules()
    assert found[uid["cr-chest-effusion"]] == ("quiet", "default", "done")
    assert found[uid["cr-chest-normal"]] == ("discard", "trash", "discarded")
    assert shared not in found
    assert [s["study_instance_uid"] for s in service.status()["held"]] == [uid["mr-brain-normal"]]
    assert "waits:" in command(service, "status").stdout
    first.release()

    assert ask(service, "POST", f"/studies/{uid['mr-brain-normal']}/process")[0] == 202
    wait_until(lambda: rules().get(uid["mr-brain-normal"], ("",) * 3)[2] == "done", 120, "the released study")
    wait_until(lambda: rules().get(shared, ("",) * 3)[2] == "done", 120, "the shared study")
    (revision,) = [r for r in service.status()["revisions"] if r["study_instance_uid"] == shared]
    assert (revision["received"], revision["rule"]) == (2, "default")
    released = command(service, "release", uid["cr-chest-normal"])
    assert "revision 2 is ready" in released.stdout, released.stderr
    wait_until(lambda: len(reports(service)) == 4, 120, "four reports")


def test_delivered_files_are_cleaned_and_a_late_instance_makes_no_half_result(start, sample_data):
    service = start(DICOM_PIPELINE_SPOOL__KEEP_DAYS="0")
    brain = files(sample_data / "studies" / "mr-brain-lesion")
    uid = str(pydicom.dcmread(brain[0]).StudyInstanceUID)
    service.dcmsend(*brain[:12])
    wait_until(lambda: service.status()["spool"]["removed"]["instances"] == 12, 120, "nothing was cleaned")
    assert not list((service.data / "instances").rglob("*.dcm"))
    assert len(reports(service)) == 1
    trail = "".join(path.read_text() for path in (service.data / "audit").glob("*.log"))
    assert [uid in line for line in trail.splitlines() if "DICOM Study Deleted" in line] == [True]
    assert ask(service, "GET", f"/studies/{uid}/report.html")[0] == 404
    assert ask(service, "GET", f"/studies/{uid}/scores")[0] == 200
    status, answer = ask(service, "POST", f"/studies/{uid}/process")
    assert (status, "12 of the study's 12" in answer["error"]) == (409, True)
    assert command(service, "release", uid).returncode == 1

    service.dcmsend(brain[12])
    wait_until(lambda: service.status()["held"], 60, "the late instance waits for nothing")
    status, answer = ask(service, "GET", f"/studies/{uid}/instances")
    assert (len(answer["instances"]), len(answer["cleaned"])) == (1, 12)
    assert ask(service, "GET", f"/studies/{uid}/explain")[1]["instances"]["reasons"]["cleaned"] == 12
    time.sleep(2)
    assert [r[1] for r in states(service)] == [1]

    service.dcmsend(*brain)
    wait_until(lambda: len(reports(service)) == 2, 120, "no second report")
    last = states(service)[-1]
    assert (last[1], last[2], last[5], last[8]) == (2, "done", 20, 0)
    newest = max(
        (read_report(pydicom.dcmread(p)) for p in files(service.config.parent / "reports")), key=lambda r: r.revision
    )
    assert newest.predecessor is not None
    wait_until(lambda: service.status()["spool"]["removed"]["instances"] == 20, 60, "not cleaned again")
    assert service.status()["spool"]["held"]["instances"] == 0


def test_the_command_says_and_does_what_may_go(start, sample_data):
    service = start()
    service.dcmsend(sample_data / "studies" / "cr-chest-normal")
    service.wait_settled(1)
    wait_until(lambda: service.status()["spool"]["may_go"]["instances"], 60, "the report was not delivered")
    assert command(service, "clean").returncode == 2, "no rule was given"
    assert json.loads(command(service, "clean", "--keep-days", "1", "--json").stdout)["instances"] == 0
    would = json.loads(command(service, "clean", "--keep-days", "0", "--dry-run", "--json").stdout)
    assert (would["instances"], would["dry_run"]) == (1, True)
    assert service.status()["spool"]["held"]["instances"] == 1
    assert "1 files" in command(service, "clean", "--keep-bytes", "0").stdout
    assert "1 were removed" in command(service, "status").stdout


def test_a_lost_catalog_is_rebuilt_and_nothing_is_reported_twice(start, orthanc, sample_data, tmp_path):
    service = start(f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\n')
    brain = files(sample_data / "studies" / "mr-brain-normal")
    service.dcmsend(*brain[:12], *files(sample_data / "studies" / "cr-chest-normal"))
    service.wait_settled(13)
    service.dcmsend(*brain[12:])
    service.wait_settled(13 + len(brain) - 12)
    other = pydicom.dcmread(brain[0])
    kept = {path: path.read_bytes() for path in (service.data / "instances").rglob("*.dcm")}
    other.PatientName = "OTHER"
    other.save_as(tmp_path / "other.dcm")
    service.dcmsend(tmp_path / "other.dcm")
    wait_until(lambda: len(states(service)) == 4 and states(service)[-1][2] == "done", 120, "the conflict")
    brains = {row[1]: row for row in states(service) if row[0] == str(other.StudyInstanceUID)}
    assert brains[3][-1] == (("content-conflict", 1), *brains[2][-1])
    assert {path: path.read_bytes() for path in kept} == kept, "never replaced"
    wait_until(lambda: service.status()["deliveries"] == ALL_DELIVERED, 60, "four reports to both destinations")
    in_orthanc = sorted(orthanc.client.instances.get_all_ids())
    refused = command(service, "rebuild")
    assert (refused.returncode, "another service" in refused.stderr) == (2, True)
    before, sent, totals = states(service), reports(service), service.status()["totals"]
    assert service.stop() == 0

    whole = command(service, "rebuild")
    assert (whole.returncode, "--force" in whole.stderr) == (2, True)
    catalog = service.data / "catalog.sqlite"
    catalog.write_bytes(b"no database" * 1000)
    torn = service.data / "instances" / "00" / f"{'0' * 64}.dcm"
    torn.parent.mkdir(exist_ok=True)
    shutil.copy(next(iter(kept)), torn)
    garbage = torn.with_name(f"{'1' * 64}.dcm")
    garbage.write_bytes(b"garbage")
    account = json.loads(command(service, "rebuild", "--json").stdout)
    assert account["files"] == len(kept) + 3
    assert (account["entered"], account["conflicts"], account["records"], account["reports"]) == (len(kept), 1, 4, 4)
    assert {Path(name).name: why.split(":")[0] for name, why in account["skipped"].items()} == {
        torn.name: "torn",
        garbage.name: "unreadable",
    }
    assert (service.data / account["backup"]).read_bytes().startswith(b"no database")
    assert torn.exists()
    assert garbage.exists()

    service.start()
    service.wait_settled(len(kept))
    assert sorted(states(service)) == sorted(before)
    names = ("instances", "conflicts", "studies", "waiting")
    assert {name: service.status()["totals"][name] for name in names} == {name: totals[name] for name in names}
    assert service.status()["deliveries"] == ALL_DELIVERED
    assert sorted(orthanc.client.instances.get_all_ids()) == in_orthanc
    assert service.status()["spool"]["kept_because"].keys() <= {"rebuilt", "content-conflict"}
    service.dcmsend(*brain, *files(sample_data / "studies" / "cr-chest-normal"))
    time.sleep(3)
    service.wait_settled(len(kept))
    assert sorted(states(service)) == sorted(before)
    assert reports(service) == sent
