"""What the service's own parts tell the audit trail, and what a peer's words may not tell anybody."""

import io
import json
import time
import xml.etree.ElementTree as ET

import pyarrow as pa
import pydicom
import pytest
from typer.testing import CliRunner

from dicom_pipeline.audit import Accessed, Queried
from dicom_pipeline.audit.trail import files_of
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.cli.app import app
from dicom_pipeline.config import Settings
from dicom_pipeline.delivery.retry import RetryRule
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome
from dicom_pipeline.peers.peer_messages import redact_patient
from dicom_pipeline.research.embedding_store import EmbeddingStore
from dicom_pipeline.service.auditing import Deliveries
from dicom_pipeline.service.wiring import forwarder_of, record_of
from dicom_pipeline.web.access import http_access
from tests.audit.facts import problems
from tests.peers.programs import wait_until
from tests.research.made import made_rows


@pytest.fixture(scope="module")
def report(sample_data):
    """Any object of a patient will do."""
    ds = pydicom.dcmread(sample_data / "studies" / "cr-chest-normal" / "1-01.dcm")
    ds.PatientName, ds.PatientID, ds.AccessionNumber = "Müller^Anna Maria^^Dr.", "4711-X", "A1"
    ds.SpecificCharacterSet = "ISO_IR 192"
    stream = io.BytesIO()
    ds.save_as(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("", ""),
        ("Out of resources", "Out of resources"),
        ("patient MÜLLER^ANNA MARIA^^DR. is unknown", "patient [removed] is unknown"),
        ("no such id: 4711-x", "no such id: [removed]"),
        ("Anna has id A1", "[removed] has id A1"),  # two characters are in every other word
    ],
)
def test_a_peers_words_lose_what_they_quote_of_the_patient(report, words, kept):
    assert redact_patient(words, report) == kept


@pytest.mark.parametrize(
    ("method", "target", "status", "told"),
    [
        ("GET", "/studies/1.2.3/report", 200, Accessed),
        ("GET", "/studies/1.2.3/similar?top=5", 200, Accessed),
        ("GET", "/search?text=effusion", 200, Queried),
        ("GET", "/studies/1.2.3", 200, None),  # asked every few seconds by a PACS's plug-in
        ("GET", "/studies/1.2.3/report", 404, None),
        ("POST", "/studies/1.2.3/process", 202, None),
        ("GET", "/status", 200, None),
    ],
)
def test_reading_results_and_searching_is_told(method, target, status, told):
    fact = http_access(method, target, status, "10.0.0.1")
    assert (type(fact) if fact else None) is told
    if fact is not None:
        assert fact.user.address == "10.0.0.1"


class Answers:
    """A destination that gives these answers one after the other."""

    name = "pacs"

    def __init__(self, *attempts):
        self._attempts = list(attempts)

    def send(self, report):
        return self._attempts.pop(0)


@pytest.mark.parametrize(
    ("results", "max_seconds", "outcomes"),
    [
        ([DeliveryOutcome.DELIVERED], 1e6, ["0"]),
        ([DeliveryOutcome.SET_ASIDE], 1e6, ["8"]),
        ([DeliveryOutcome.RETRY, DeliveryOutcome.RETRY, DeliveryOutcome.DELIVERED], 1e6, ["0"]),
        ([DeliveryOutcome.RETRY], 0.0, ["8"]),  # given up
    ],
)
def test_a_delivery_is_told_once_when_it_begins_and_once_when_it_has_ended(
    report, tmp_path, results, max_seconds, outcomes
):
    settings = Settings(
        spool={"folder": tmp_path},
        peers=[{"type": "dicom", "name": "pacs", "ae_title": "PACS", "host": "10.0.0.9", "port": 104}],
    )
    (tmp_path / "r.dcm").write_bytes(report)
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with catalog.transaction() as run:
        run.execute("touch_study", study_instance_uid="1.2", at=0)
        made = {"number": 1, "cause": "quiet", "rule": "", "state": "ready", "predecessor": None}
        revision = run.execute("add_revision", study_instance_uid="1.2", at=0, **made)
        values = {"sop_instance_uid": "1.2.9", "sop_class_uid": "1.2", "path": "r.dcm", "sha256": ""}
        run.execute("add_report", revision_id=revision, at=0, **values)
        run.execute("add_delivery", report_uid="1.2.9", destination="pacs", at=time.time())
    destination = Answers(*(Attempt(outcome, "0xA700", "4711-X is unknown") for outcome in results))
    rule = RetryRule(first_seconds=0.0, max_wait_seconds=0.0, max_seconds=max_seconds)
    audit = Deliveries(record_of(settings, "sender"), settings.delivering)
    sender = Sender(catalog, tmp_path, [destination], {"pacs": rule}, audit)
    for _ in results:
        wait_until(lambda: sender.send_due(destination), 20, "the delivery is not due")
    catalog.close()
    found = [ET.fromstring(line) for path in files_of(tmp_path / "audit") for line in path.read_text().splitlines()]
    told = [
        (
            m.find("EventIdentification/EventID").get("csd-code"),
            m.find("EventIdentification").get("EventOutcomeIndicator"),
        )
        for m in found
    ]
    assert told == [("110102", "0"), *(("110104", outcome) for outcome in outcomes)]
    for message in found:
        peer = list(message.iter("ActiveParticipant"))[1]
        assert (peer.get("UserID"), peer.get("AlternativeUserID")) == ("pacs", "AETITLES=PACS")
        assert (peer.get("NetworkAccessPointID"), peer.get("NetworkAccessPointTypeCode")) == ("10.0.0.9", "2")
        assert "4711" not in ET.tostring(message, encoding="unicode")


def test_no_trail_where_none_is_wanted_and_settings_that_cannot_work_are_refused(report, tmp_path):
    settings = Settings(spool={"folder": tmp_path}, audit={"write": False, "syslog": "udp"})
    Deliveries(record_of(settings, "sender"), ()).begins("pacs", report)
    assert not (tmp_path / "audit").exists()
    assert forwarder_of(settings) is None
    with pytest.raises(ConfigError, match=r"audit\.syslog_ca = .*no\.pem"):
        forwarder_of(Settings(spool={"folder": tmp_path}, audit={"syslog": "tls", "syslog_ca": tmp_path / "no.pem"}))


@pytest.mark.system
def test_an_export_is_told_with_its_studies_and_its_user(tmp_path):
    data = tmp_path / "data"
    store = EmbeddingStore.open(str(data / "store"), create=True)
    store.write(pa.concat_tables([made_rows(f"1.{n}", frames=2, series=1, seed=n) for n in range(3)]))
    (tmp_path / "pipeline.toml").write_text('[spool]\nfolder = "data"\n[audit]\npatient_ids = true\n')
    arguments = ["export", "--out", str(tmp_path / "out"), "--config", str(tmp_path / "pipeline.toml"), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (line,) = [line for path in files_of(data / "audit") for line in path.read_text().splitlines()]
    assert problems([line], tmp_path / "xml") == ""
    message = ET.fromstring(line)
    assert message.find("EventIdentification/EventID").get("csd-code") == "110106"
    user, _, media = message.iter("ActiveParticipant")
    assert "@" in user.get("UserID")
    assert media.get("UserID") == (tmp_path / "out").as_uri()
    objects = list(message.iter("ParticipantObjectIdentification"))
    assert [o.get("ParticipantObjectID") for o in objects if o.get("ParticipantObjectTypeCode") == "2"] == [
        "1.0",
        "1.1",
        "1.2",
    ]
    assert [o for o in objects if o.get("ParticipantObjectTypeCode") == "1"]
    assert json.loads(result.output)["identified"] is False
