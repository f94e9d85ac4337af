"""Instances over HTTP: any cut of a body gives the same files, limits count what comes, a client that goes leaves nothing."""

import io
import json
import socket
import threading

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog.account import refusals
from dicom_pipeline.config import Settings
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.web.dicomweb import StowError, store
from tests.peers.programs import wait_until
from tests.peers.web import context_of, served

BOUNDARY = "b-o-u-n-d"
STOW = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}


def instance(**values) -> bytes:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for name, value in values.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def multipart(*parts: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def cut(body: bytes, places) -> list[bytes]:
    ends = sorted({place % len(body) for place in places} | {len(body)})
    return [body[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True) if begin < end]


@pytest.fixture
def receiver(tmp_path, catalog):
    return Receiver(catalog, Spool(tmp_path), 10**6, 0)


@pytest.fixture
def site(tmp_path, catalog):
    section = {"folder": tmp_path, "min_free_bytes": 0}
    made = Settings(spool=section, listener={"max_object_bytes": 200_000}, service={"web_port": 1})
    with served(context_of(made, catalog)) as site:
        yield site


def incoming(tmp_path):
    return list((tmp_path / "incoming").iterdir())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, 10**6), max_size=30))
def test_any_cut_of_a_multipart_body_gives_the_same_instances(receiver, places):
    parts = [instance(), b"no DICOM", instance()]
    uids = [str(pydicom.dcmread(io.BytesIO(part)).SOPInstanceUID) for part in (parts[0], parts[2])]
    status, answer = store(receiver, cut(multipart(*parts), places), STOW["Content-Type"], "a")
    assert status == 202
    assert [item["00081155"]["Value"][0] for item in answer["00081199"]["Value"]] == uids
    assert [item["00081197"]["Value"] for item in answer["00081198"]["Value"]] == [[0xC000]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, 10**6), max_size=30))
def test_any_cut_of_a_file_gives_the_same_instance(receiver, places):
    content = instance()
    receipt = receiver.begin(source="TEST", address="a")
    for chunk in cut(content, places):
        receipt.write(chunk)
    assert receipt.finish().result is UploadResult.NEW
    assert receiver.receive(content, source="TEST", address="a").result is UploadResult.DUPLICATE


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/dicom", b"x", "multipart/related"),
        ("multipart/related", b"x", "boundary"),
        (f"multipart/related; boundary={'x' * 257}", b"x", "boundary"),
        (STOW["Content-Type"], multipart(b"x" * 500)[:-20], "ends within a part"),
        (STOW["Content-Type"], b"", "no part"),
        (STOW["Content-Type"], b"--other\r\n\r\nx\r\n--other--", "not multipart/related"),
    ],
)
def test_what_is_no_store_request_is_refused(receiver, tmp_path, content_type, body, words):
    with pytest.raises(StowError, match=words):
        store(receiver, [body] if body else [], content_type, "a")
    assert incoming(tmp_path) == []


def test_a_file_is_stored_a_second_one_is_a_duplicate(site):
    content = instance()
    values = {"stored": True, "retryable": False, "kept": True, "again": False}
    assert site.ask("POST", "/instances", content) == (200, {"result": "new", "taken": "new", **values})
    assert site.ask("POST", "/instances", content) == (200, {"result": "duplicate", "taken": "duplicate", **values})


@pytest.mark.parametrize(
    ("content", "status", "result"),
    [
        (b"no DICOM at all", 422, "unreadable"),
        (b"", 422, "unreadable"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 500, 422, "unreadable"),
        (instance(StudyInstanceUID=""), 422, "missing-uid"),
        (instance(PixelData=b"\0" * 300_000), 413, "too-large"),
    ],
)
def test_what_is_refused_has_its_status_and_reason(site, tmp_path, catalog, content, status, result):
    answered, values = site.ask("POST", "/instances", content)
    assert (answered, values["result"], values["stored"]) == (status, result, False)
    assert refusals(catalog) == {result: 1}
    assert incoming(tmp_path) == []


def test_a_body_in_chunks_is_limited_by_what_comes(site, tmp_path):
    status, values = site.ask("POST", "/instances", iter([instance()] + [b"\0" * 65536] * 64))
    assert (status, values["result"]) == (413, "too-large")
    assert "listener.max_object_bytes (200000 bytes)" in values["error"]
    assert incoming(tmp_path) == []


def test_parts_of_a_stow_request_are_limited_one_by_one(site):
    small, large = instance(), instance(PixelData=b"\0" * 300_000)
    status, answer = site.ask("POST", "/dicom-web/studies", multipart(large, small, small, small, small, small), STOW)
    assert status == 202
    assert [item["00081197"]["Value"] for item in answer["00081198"]["Value"]] == [[0xA700]]
    assert len(answer["00081199"]["Value"]) == 5


def test_a_client_that_goes_in_the_middle_leaves_nothing(site, tmp_path, catalog):
    content = instance()
    head = f"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(head + content[:20_000])
        wait_until(lambda: incoming(tmp_path), 30, "nothing comes")
    wait_until(lambda: not incoming(tmp_path), 30, "what came is not discarded")
    assert refusals(catalog) == {}
    assert site.ask("POST", "/instances", content)[0] == 200


def test_a_silent_client_is_given_up(site, tmp_path, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.web.uploads.CHUNK_SECONDS", 0.2)
    content = instance()
    head = f"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    answer = site.raw(head + content[:20_000], finish=False)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert incoming(tmp_path) == []


def test_slow_uploads_do_not_keep_pages_waiting(site):
    head = b"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n\0"
    clients = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(60)]
    try:
        for client in clients:
            client.sendall(head)
        assert site.ask("GET", "/health")[0] == 200
        assert site.ask("GET", "/status")[0] == 200
    finally:
        for client in clients:
            client.close()


def test_one_request_is_one_transfer_of_the_audit_trail(tmp_path, catalog):
    facts: list[object] = []
    made = Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": 1})
    receiver = Receiver(catalog, Spool(tmp_path), 10**6, 0, ThreadTransfers(facts.append))
    with served(context_of(made, catalog, facts, receiver=receiver)) as site:
        assert site.ask("POST", "/dicom-web/studies", multipart(instance(), instance(), instance()), STOW)[0] == 200
    (fact,) = facts
    assert list(fact.study.classes.values()) == [3]


def test_uploads_at_once_are_all_stored(site):
    contents = [instance() for _ in range(24)]
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda c=c: answers.append(site.ask("POST", "/instances", c)[0])) for c in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 24
    assert json.loads(json.dumps(site.ask("GET", "/status")[1]))["totals"]["instances"] == 24
