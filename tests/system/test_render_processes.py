"""Render processes of a running service that die or hang: the study is reported, the account balances, status says so."""

import pytest

from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.planning import scan
from tests.peers.service import Service

pytestmark = pytest.mark.system

SETTINGS = (
    '[rendering]\nprocesses = 1\nframe_seconds = 1\n[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
)


@pytest.mark.parametrize(
    ("fault", "incident", "counts", "reasons"),
    [
        ("job-begun:2", "render-processes-crashed", {"used": 4, "failed": 0}, {"frame-not-chosen", "localizer"}),
        (
            "job-begun:3:hang",
            "render-processes-out-of-time",
            {"used": 3, "failed": 1},
            {"frame-not-chosen", "localizer", "decoder-timeout"},
        ),
    ],
)
def test_the_study_is_reported_and_the_status_tells(tmp_path, sample_data, fault, incident, counts, reasons):
    """Each process dies before its second job, or stands still at its third: the frame of that job alone may be lost."""
    (headers,) = scan([sample_data / "studies" / "ct-chest-nodule"]).studies.values()
    service = Service(tmp_path, SETTINGS)
    service.environment["DICOM_PIPELINE_FAULT"] = fault
    service.start()
    try:
        statuses = send_instances(headers, "DICOMPIPE", "127.0.0.1", service.port, "TEST")
        assert set(statuses.values()) == {0}
        account = service.wait_settled(len(headers))
        (revision,) = account["revisions"]
        assert revision["state"] == "done"
        assert {key: revision[key] for key in counts} == counts
        assert set(revision["reasons"]) == reasons
        assert revision["received"] == len(headers)
        assert service.status()["service"]["incidents"][incident] >= 1
    finally:
        assert service.stop() == 0
    assert "a render process ended (" in service.log.read_text()
    assert len(list((tmp_path / "reports").glob("*.dcm"))) == 1
