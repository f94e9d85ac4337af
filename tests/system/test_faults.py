"""Crashes, late instances and broken input: nothing acknowledged is lost, nothing is reported twice."""

import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.planning import scan
from dicom_pipeline.reporting import read_report
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

FOLDER = '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'


@pytest.fixture
def service(tmp_path):
    running = Service(tmp_path / "service", FOLDER)
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


def many_studies(folder: Path, sample_data: Path, count: int) -> list[Path]:
    """Copies of the sample MR slices as `count` studies of four instances each."""
    sources = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:4]
    folder.mkdir()
    made = []
    for study in range(count):
        uids = [generate_uid(entropy_srcs=[str(study), name]) for name in ("study", "series")]
        for index, source in enumerate(sources):
            ds = pydicom.dcmread(source)
            ds.StudyInstanceUID, ds.SeriesInstanceUID = uids
            ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(study), str(index)])
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            path = folder / f"{study}-{index}.dcm"
            ds.save_as(path)
            made.append(path)
    return made


def reported_sources(service: Service) -> Counter:
    """How many reports name each source instance."""
    counts: Counter = Counter()
    for path in (service.config.parent / "reports").glob("*.dcm"):
        counts.update(read_report(pydicom.dcmread(path)).sources)
    return counts


def wait_reports(service: Service, count: int) -> None:
    folder = service.config.parent / "reports"
    wait_until(lambda: len(list(folder.glob("*.dcm"))) >= count, 60, f"fewer than {count} reports")


def test_killed_while_receiving_and_while_processing(service, tmp_path, sample_data):
    paths = many_studies(tmp_path / "input", sample_data, 8)
    headers = [header for members in scan(paths).studies.values() for header in members]
    acknowledged: set[str] = set()

    def send_all():
        for header in headers:  # one association each, so that the kill ends one of them half-way
            try:
                statuses = send_instances([header], "DICOMPIPE", "127.0.0.1", service.port, "TEST")
            except Exception:  # noqa: BLE001 - the peer was killed: nothing was acknowledged
                return
            acknowledged.update(uid for uid, status in statuses.items() if status == 0)

    service.start()
    sender = threading.Thread(target=send_all)
    sender.start()
    wait_until(lambda: len(acknowledged) >= 10, 60, "nothing was acknowledged")
    service.kill()
    sender.join(60)
    killed_with = set(acknowledged)
    assert len(killed_with) < len(headers)

    service.start()
    send_all()
    wait_until(lambda: any(r["state"] == "processing" for r in service.status()["revisions"]), 60, "no processing")
    service.kill()
    service.start()
    account = service.wait_settled(len(headers))
    wait_reports(service, 8)

    counts = reported_sources(service)
    assert acknowledged == {header.sop_instance_uid for header in headers}
    assert set(counts) == acknowledged
    final = {r["study_instance_uid"]: r for r in account["revisions"]}
    assert all(r["state"] == "done" and r["received"] == r["used"] == 4 for r in final.values())
    extra = [r for r in account["revisions"] if r["number"] > 1]
    if not extra:  # a study whose quiet time passed during the restart has a second revision, and only that one
        assert set(counts.values()) == {1}
    assert service.stop() == 0


def test_a_late_instance_makes_the_next_revision(service, sample_data):
    paths = sorted((sample_data / "studies" / "mr-brain-lesion").glob("*.dcm"))
    service.start()
    service.dcmsend(*paths[:12])
    service.wait_settled(12)
    wait_reports(service, 1)
    service.dcmsend(*paths[12:])
    account = service.wait_settled(20)
    wait_reports(service, 2)
    assert [(r["number"], r["received"]) for r in account["revisions"]] == [(1, 12), (2, 20)]
    reports = [read_report(pydicom.dcmread(p)) for p in (service.config.parent / "reports").glob("*.dcm")]
    first, second = sorted(reports, key=lambda report: report.revision)
    assert first.predecessor is None
    assert second.predecessor == first.sop_instance_uid


def broken_files(folder: Path, sample_data: Path) -> dict[str, str]:
    """Broken instances, each its own study, on disk; SOP Instance UID -> the reason that must stand in the account."""
    folder.mkdir()
    expected = {}

    def save(name: str, ds: pydicom.Dataset, reason: str) -> None:
        ds.StudyInstanceUID, ds.SOPInstanceUID = (
            generate_uid(entropy_srcs=[name]),
            generate_uid(entropy_srcs=[name, "s"]),
        )
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds.save_as(folder / f"{name}.dcm")
        expected[str(ds.SOPInstanceUID)] = reason

    def picture() -> pydicom.Dataset:
        return pydicom.dcmread(get_testdata_file("CT_small.dcm"))

    truncated = picture()
    truncated.PixelData = truncated.PixelData[:1000]
    save("truncated", truncated, "truncated")
    empty = picture()
    del empty.PixelData
    save("no-pixels", empty, "no-pixel-data")
    save("report", pydicom.dcmread(get_testdata_file("reportsi.dcm")), "not-an-image")
    garbage = pydicom.dcmread(sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[0])
    garbage.PixelData = pydicom.encaps.encapsulate([b"\x00" * 70])
    save("garbage", garbage, "decode-failed")
    huge = picture()
    huge.Rows = huge.Columns = 65535
    save("huge", huge, "too-large")
    slope = picture()
    slope.RescaleSlope = "0"
    slope.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    save("slope", slope, "invalid-attribute")
    return expected


def test_broken_input_ends_with_a_reason_and_the_service_goes_on(service, tmp_path, sample_data):
    expected = broken_files(tmp_path / "broken", sample_data)
    service.start()
    paths = sorted((tmp_path / "broken").glob("*.dcm"))
    headers = [header for members in scan(paths).studies.values() for header in members]
    send_instances(headers, "DICOMPIPE", "127.0.0.1", service.port, "TEST")
    account = service.wait_settled(len(expected))
    found = Counter(reason for r in account["revisions"] for reason in r["reasons"])
    assert found == Counter(expected.values())
    assert {r["state"] for r in account["revisions"]} == {"no-image"}
    shutil.rmtree(tmp_path / "broken")
    service.dcmsend(sample_data / "studies" / "cr-chest-normal")
    wait_reports(service, 1)
    assert service.wait_settled(len(expected) + 1)["revisions"][-1]["state"] == "done"


def test_sigterm_ends_cleanly_and_quickly(service):
    service.start()
    start = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - start < 30


def test_a_spool_whose_catalog_is_gone_is_not_served(service, sample_data):
    """An empty catalog beside a full spool would be silence: nothing of it would ever be processed."""
    (headers,) = scan([sample_data / "studies" / "cr-chest-normal"]).studies.values()
    service.start()
    assert set(send_instances(headers, "DICOMPIPE", "127.0.0.1", service.port, "TEST").values()) == {0}
    service.wait_settled(len(headers))
    service.stop()
    for path in service.data.glob("catalog.sqlite*"):
        path.unlink()
    command = [sys.executable, "-m", "dicom_pipeline", "serve", "--config", service.config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "dicom-pipeline rebuild" in done.stderr
    assert not (service.data / "catalog.sqlite").exists()
