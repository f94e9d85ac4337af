"""The main job with real peers: dcmsend -> serve -> Orthanc, and what Orthanc then holds."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicom_pipeline.reporting import read_report
from tests.peers.orthanc import Orthanc
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors
from tests.peers.service import Service

pytestmark = pytest.mark.system

REAL = ("CT_small.dcm", "MR_small.dcm")
"""Files that come with pydicom, of real machines; the corpus adds CT, MR and CR."""


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory, orthanc):
    folder = tmp_path_factory.mktemp("service")
    destinations = (
        f'[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom}\n'
        '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
        f'[[peers]]\ntype = "orthanc"\nname = "rest"\nurl = "{orthanc.url}"\n'
    )
    running = Service(folder, destinations).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def sent(service, sample_data, corpus):
    """The sample studies and real files, sent and settled: the account and the paths."""
    real = [Path(path) for name in REAL if (path := get_testdata_file(name, download=False))]
    real += sorted((corpus / "ct_ge_head").glob("*.dcm"))[:5] + sorted((corpus / "mr_t1_slab").glob("*.dcm"))[:5]
    real += sorted(p for p in corpus.rglob("RG1_*") if "RLE" in p.name or "JPLL" in p.name)[:1]
    paths = sorted(sample_data.glob("studies/*/*.dcm")) + real
    assert service.dcmsend(*paths).returncode == 0
    return service.wait_settled(len(paths)), paths


@pytest.fixture(scope="module")
def reports(sent, orthanc):
    """Every SR in Orthanc as a data set, read back over its REST API."""
    client = orthanc.client
    return [pydicom.dcmread(io.BytesIO(client.instances.get_file(i))) for i in orthanc.reports()]


def test_every_instance_is_accounted_for(sent):
    account, paths = sent
    for revision in account["revisions"]:
        assert revision["state"] == "done"
        assert revision["received"] == revision["used"] + revision["excluded"] + revision["failed"]
        assert revision["failed"] == 0
    assert sum(r["received"] for r in account["revisions"]) == len(paths)
    assert account["totals"]["refusals"] == 0


def test_each_study_has_one_report_in_orthanc_and_in_the_folder(sent, reports, service):
    account, paths = sent
    studies = {str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path in paths}
    assert sorted(str(r.StudyInstanceUID) for r in reports) == sorted(studies)
    assert account["deliveries"] == {name: {"delivered": len(studies)} for name in ("files", "pacs", "rest")}
    in_folder = {path.stem for path in (service.config.parent / "reports").glob("*.dcm")}
    assert in_folder == {str(r.SOPInstanceUID) for r in reports}


def test_reports_name_their_source_instances(sent, reports):
    _, paths = sent
    sent_uids = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}
    for report in reports:
        content = read_report(report)
        assert content.sources
        assert set(content.sources) <= sent_uids
        assert content.scores
        assert content.parameters["statement"] == "Research use only, not for diagnosis."


def test_reports_pass_dciodvfy_and_dsrdump(reports, tmp_path):
    for index, report in enumerate(reports):
        path = tmp_path / f"{index}.dcm"
        report.save_as(path)
        assert dciodvfy_errors(path) == []
        assert dsrdump_errors(path) == []


def test_a_report_passes_pixelmed(reports, tmp_path):
    path = tmp_path / "report.dcm"
    min(reports, key=lambda r: len(r.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence)).save_as(
        path
    )
    assert pixelmed_errors(path) == []


def test_embeddings_lie_in_a_file(sent, service):
    import pyarrow.parquet as pq

    account, _ = sent
    tables = [pq.read_table(path) for path in (service.data / "results").glob("*/r1/embeddings.parquet")]
    assert len(tables) == len(account["revisions"])
    assert sum(table.num_rows for table in tables) == sum(r["used"] for r in account["revisions"])
    assert {str(table.schema.field("embedding").type) for table in tables} == {"fixed_size_list<element: float>[160]"}


def test_sending_again_changes_nothing(sent, service, orthanc, sample_data, reports):
    before = {path.name: path.read_bytes() for path in (service.config.parent / "reports").glob("*.dcm")}
    assert service.dcmsend(sample_data / "studies" / "mr-brain-lesion").returncode == 0
    import time

    time.sleep(3)  # longer than the quiet time: a second revision would have been made by now
    account = service.wait_settled(1)
    assert [r["number"] for r in account["revisions"]] == [1] * len(account["revisions"])
    assert {path.name: path.read_bytes() for path in (service.config.parent / "reports").glob("*.dcm")} == before
    assert len(orthanc.reports()) == len(reports)


def test_a_report_sent_back_is_stored_by_nobody(sent, service, reports, tmp_path):
    path = tmp_path / "own.dcm"
    reports[0].save_as(path)
    assert service.dcmsend(path).returncode == 0
    account = service.status()
    assert account["refusals"].get("own-object") == 1
    assert account["totals"]["instances"] == sent[0]["totals"]["instances"]
