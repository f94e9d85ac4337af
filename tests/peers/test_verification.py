"""Whether what was sent is there: C-FIND, Storage Commitment on the same association, read-back over DICOMweb."""

import copy
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.peers.comparison import changed_attributes
from dicom_pipeline.peers.dicomweb import stored_attempt
from dicom_pipeline.peers.peer import DeliveryOutcome
from tests.peers.made import dicom_node, dicomweb_server, orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port
from tests.reporting.made import report
from tests.reporting.test_companions import companions

SR = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def sr() -> bytes:
    return encode(report("CT")[0])


def serve(handlers, *contexts, **roles):
    entity, port = AE(ae_title="PEER"), free_port()
    entity.add_supported_context(SR)
    for context in contexts:
        entity.add_supported_context(context, **roles)
    return entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers), port


def node(port, verify, title="PEER"):
    return dicom_node(title, port, verify=verify)


@pytest.mark.system
def test_orthanc_is_asked_by_c_find(tmp_path, sr):
    server = Orthanc(tmp_path / "o", DicomAlwaysAllowFind=True).start()
    try:
        attempt = node(server.dicom, "find", "ORTHANC").send(sr)
    finally:
        server.stop()
    assert (attempt.outcome, attempt.verified) == (DeliveryOutcome.DELIVERED, True)


def test_a_peer_that_says_success_and_keeps_nothing_is_tried_again(sr):
    find = StudyRootQueryRetrieveInformationModelFind
    handlers = [(evt.EVT_C_STORE, lambda _: 0x0000), (evt.EVT_C_FIND, lambda _: iter(()))]
    server, port = serve(handlers, find)
    try:
        attempt = node(port, "find").send(sr)
    finally:
        server.shutdown()
    assert attempt.outcome is DeliveryOutcome.RETRY
    assert "C-FIND does not list the object" in attempt.message


def test_a_peer_without_c_find_has_it_unverified_and_says_so(sr):
    server, port = serve([(evt.EVT_C_STORE, lambda _: 0xB000)])
    try:
        attempt = node(port, "find").send(sr)
    finally:
        server.shutdown()
    assert (attempt.outcome, attempt.verified, attempt.status) == (DeliveryOutcome.DELIVERED, False, "0xB000")
    assert "warning: coercion" in attempt.message
    assert "not verified: C-FIND failed" in attempt.message


@pytest.mark.parametrize("failure", [None, 0x0112])
def test_commitment_that_is_answered_on_the_association_that_asks(failure):
    """A peer that calls back on the same association before it is released (PS3.4 J.3.3)."""

    def act(event):
        def answer():
            result = Dataset()
            result.TransactionUID = event.action_information.TransactionUID
            items = copy.deepcopy(event.action_information.ReferencedSOPSequence)
            for item in items:
                if failure:
                    item.FailureReason = failure
            name = "FailedSOPSequence" if failure else "ReferencedSOPSequence"
            setattr(result, name, DicomSequence(items))
            event.assoc.send_n_event_report(
                result, 2 if failure else 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
            )

        threading.Timer(0.2, answer).start()
        return 0x0000, None

    server, port = serve([(evt.EVT_N_ACTION, act)], StorageCommitmentPushModel)
    try:
        question = node(port, "commitment").ask_commitment("2.25.5", SR, "1.2.3")
    finally:
        server.shutdown()
    assert (question.error, question.result) == ("", {"1.2.3": failure})


def test_a_peer_that_refuses_commitment_says_why(sr):
    server, port = serve([(evt.EVT_N_ACTION, lambda _: (0x0112, None))], StorageCommitmentPushModel)
    try:
        assert "0x0112" in node(port, "commitment").ask_commitment("2.25.5", SR, "1.2.3").error
    finally:
        server.shutdown()
    server, port = serve([])
    try:
        question = node(port, "commitment").ask_commitment("2.25.5", SR, "1.2.3")
    finally:
        server.shutdown()
    assert "accepts no presentation context for Storage Commitment" in question.error
    assert question.result is None


def test_what_a_server_adds_or_leaves_out_when_empty_is_no_difference(sr):
    sent = pydicom.dcmread(io.BytesIO(sr))
    back = copy.deepcopy(sent)
    back.RetrieveAETitle = "PACS"
    empty = next(element for element in sent if element.is_empty)
    del back[empty.tag]
    assert changed_attributes(sent, back) == []
    back.ContentSequence[0].RelationshipType = "HAS PROPERTIES"
    back.SeriesNumber = 1
    del back.SeriesDescription
    assert changed_attributes(sent, back) == ["SeriesDescription", "SeriesNumber", "ContentSequence"]


@pytest.mark.parametrize("explicit_again", [False, True])
def test_what_a_server_keeps_in_implicit_vr_is_the_same_object(explicit_again):
    """It cannot know that our private attributes are UT, OB and LO, nor that the pixels are OB."""
    made, _, sr = companions()
    for sent in (sr, *made):
        stream, kept = io.BytesIO(), copy.deepcopy(sent)
        kept.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        kept.save_as(stream)
        back = pydicom.dcmread(io.BytesIO(stream.getvalue()))
        if explicit_again:
            stream = io.BytesIO()
            back.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            back.save_as(stream)
            back = pydicom.dcmread(io.BytesIO(stream.getvalue()))
        assert changed_attributes(sent, back) == []
        keyword = "PixelData" if "PixelData" in back else "SeriesDescription"
        back[keyword].value = back[keyword].value[:-2] + type(back[keyword].value)(b"zz" if keyword[0] == "P" else "zz")
        assert changed_attributes(sent, back) == [keyword]
        if sent.SOPClassUID.keyword == "RawDataStorage":
            block = back.private_block(0x0099, "DICOM_PIPELINE")
            block[2].value = block[2].value[:-2] + b"zz"
            assert "(0099,1002)" in changed_attributes(sent, back)


def answer_of(**sequences) -> Dataset:
    made = Dataset()
    for name, (keyword, reason) in sequences.items():
        item = Dataset()
        setattr(item, keyword, reason)
        setattr(made, name, DicomSequence([item]))
    return made


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (answer_of(), DeliveryOutcome.DELIVERED, "200"),
        (answer_of(ReferencedSOPSequence=("WarningReason", 0xB000)), DeliveryOutcome.DELIVERED, "0xB000"),
        (answer_of(FailedSOPSequence=("FailureReason", 0xA700)), DeliveryOutcome.RETRY, "0xA700"),
        (answer_of(FailedSOPSequence=("FailureReason", 0xA900)), DeliveryOutcome.SET_ASIDE, "0xA900"),
        (answer_of(FailedSOPSequence=("FailureReason", 0x0000)), DeliveryOutcome.SET_ASIDE, "0x0000"),
        (answer_of(FailedSOPSequence=("FailureReason", 0x0111)), DeliveryOutcome.SET_ASIDE, "0x0111"),
        (answer_of(OtherFailuresSequence=("FailureReason", 0xC000)), DeliveryOutcome.SET_ASIDE, "0xC000"),
    ],
)
def test_a_store_instances_response_is_understood(answer, outcome, status):
    attempt = stored_attempt(answer)
    assert (attempt.outcome, attempt.status) == (outcome, status)


class Archive:
    """An HTTP server that answers posts with `post` and gets with `get`: HTTP status, and JSON, bytes or None; an object
    (bytes of a get) goes as PS3.18 10.4.3 has it."""

    def __init__(self, post, get=(404, None), media="application/dicom+json") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._say(*post)

            def do_GET(self):
                self._say(*(get if not isinstance(get[1], bytes) else in_one_part(get[1])))

            def _say(self, status, value, media=media):
                body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def send(self, content: bytes, to=dicomweb_server, **options):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        try:
            return to(f"http://127.0.0.1:{self.server.server_port}", **options).send(content)
        finally:
            self.server.shutdown()
            self.server.server_close()


def in_one_part(content: bytes):
    body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--part--\r\n"
    return 200, body, 'multipart/related; type="application/dicom"; boundary=part'


def failed(reason):
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


@pytest.mark.parametrize(
    ("post", "get", "outcome", "words"),
    [
        ((409, failed(0xA700)), (404, None), DeliveryOutcome.RETRY, "out of resources"),
        ((409, failed(0xC122)), (404, None), DeliveryOutcome.SET_ASIDE, "refuses this object"),
        ((409, None), (404, None), DeliveryOutcome.SET_ASIDE, "refuses the object"),
        ((409, {}), (404, None), DeliveryOutcome.SET_ASIDE, "refuses the object"),
        ((200, {}), (404, None), DeliveryOutcome.RETRY, "not found again"),
        ((200, {}), (403, None), DeliveryOutcome.DELIVERED, "not verified: reading back was answered 403"),
        ((200, {}), (500, None), DeliveryOutcome.RETRY, "reading back failed"),
    ],
)
def test_what_a_dicomweb_server_says_of_storing_and_reading_back(post, get, outcome, words, sr):
    attempt = Archive(post, get).send(sr)
    assert attempt.outcome is outcome
    assert words in attempt.message
    assert not attempt.verified


@pytest.mark.filterwarnings("ignore:message sent by origin server")
def test_an_answer_to_reading_back_that_is_no_object_is_asked_for_again(sr):
    """Some proxies answer everything with a page of their own and 200."""
    attempt = Archive((200, {}), (200, "<html>sign in</html>")).send(sr)
    assert attempt.outcome is DeliveryOutcome.RETRY
    assert not attempt.verified


NO_JSON, NO_XML = "application/json", "application/dicom+xml"
ORTHANC_SAYS = {"Message": "Bad request", "Details": "Modality SR of\n Test is not taken", "OrthancStatus": 8}


@pytest.mark.parametrize(
    ("post", "media", "outcome", "words"),
    [
        (
            (400, ORTHANC_SAYS),
            NO_JSON,
            DeliveryOutcome.SET_ASIDE,
            "object: Bad request, Modality SR of Test is not taken",
        ),
        ((422, b"no reports, please"), "text/plain", DeliveryOutcome.SET_ASIDE, "object: no reports, please"),
        ((404, b"<html>nothing here</html>"), "text/html", DeliveryOutcome.SET_ASIDE, "refuses the object"),
        ((413, b"\xff{"), NO_JSON, DeliveryOutcome.SET_ASIDE, "refuses the object"),
        ((503, b"maintenance until ten"), "text/plain", DeliveryOutcome.RETRY, "busy or broken: maintenance until ten"),
        ((429, None), NO_JSON, DeliveryOutcome.RETRY, "busy or broken"),
    ],
)
@pytest.mark.parametrize("to", [dicomweb_server, orthanc_server])
def test_an_http_server_is_understood_by_its_status_and_its_words_are_kept(to, post, media, outcome, words, sr):
    attempt = Archive(post, media=media).send(sr, to)
    assert (attempt.outcome, attempt.status) == (outcome, str(post[0]))
    assert attempt.message.endswith(words)


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b"nonsense", b"<bad", b"{}", b'""', b"null"])
@pytest.mark.parametrize("media", [NO_JSON, NO_XML])
@pytest.mark.parametrize("to", [dicomweb_server, orthanc_server])
def test_an_answer_to_storing_that_makes_no_sense_is_tried_again(to, media, body, sr):
    attempt = Archive((200, body), media=media).send(sr, to)
    assert (attempt.outcome, attempt.verified) == (DeliveryOutcome.RETRY, False)
    assert "reached" not in attempt.message


@pytest.mark.parametrize("status", [200, 202])
def test_a_failure_is_noticed_whatever_stands_behind_the_media_type(status, sr):
    archive = Archive((status, failed(0xA900)), media="application/dicom+json; charset=utf-8")
    attempt = archive.send(sr, verify="none")
    assert (attempt.outcome, attempt.status) == (DeliveryOutcome.SET_ASIDE, "0xA900")


@pytest.mark.parametrize("refusal", [(409, failed(0xB00E)), (409, failed(0x0110)), (409, None), (202, failed(0x0111))])
def test_what_an_earlier_attempt_brought_and_the_server_refuses_to_store_again(refusal, sr):
    """Some archives answer so to an object they have; the answer of the first attempt was lost."""
    attempt = Archive(refusal, (200, sr)).send(sr)
    assert (attempt.outcome, attempt.verified) == (DeliveryOutcome.DELIVERED, True)
    assert "already stored with identical content" in attempt.message
    other = pydicom.dcmread(io.BytesIO(sr))
    other.SeriesDescription = "other"
    attempt = Archive(refusal, (200, encode(other))).send(sr)
    assert (attempt.outcome, attempt.verified) == (DeliveryOutcome.SET_ASIDE, False)
    assert "differs in SeriesDescription" in attempt.message


FILTER = """
function ReceivedInstanceFilter(dicom, origin)
  return dicom.Modality ~= 'SR'
end
"""


@pytest.mark.system
@pytest.mark.parametrize("verify", ["read-back", "none"])
def test_an_orthanc_that_filters_reports_out_is_no_destination_reached(tmp_path, sr, verify):
    script = tmp_path / "filter.lua"
    script.write_text(FILTER)
    server = Orthanc(tmp_path / "o", LuaScripts=[str(script)]).start()
    try:
        attempt = orthanc_server(server.url, verify=verify).send(sr)
    finally:
        server.stop()
    assert attempt.outcome is DeliveryOutcome.SET_ASIDE
    assert "ReceivedInstanceFilter" in attempt.message
