"""Streams that no honest sender sends: each ends with a reason, and the listener and its other associations go on."""

import io
import socket
import struct
import time

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pynetdicom import AE

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.peers.programs import free_port
from tests.peers.raw import CT, IMPLICIT, data, request, store_command


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spool")
    wishes = ListenerSection(
        port=free_port(), association_timeout_seconds=3, idle_timeout_seconds=3, network_timeout_seconds=3,
        max_object_bytes=2_000_000, max_associations=200, max_associations_per_peer=200,
    )  # fmt: skip
    made = ListeningNode(wishes, Catalog(folder / "catalog.sqlite"), Spool(folder), "run")
    made.start()
    yield made
    made.stop()
    made.catalog.close()


def connected(listener):
    return socket.create_connection(("127.0.0.1", listener.settings.port), timeout=15)


def established(listener):
    peer = connected(listener)
    peer.sendall(request())
    assert peer.recv(4096)[:1] == b"\x02"
    return peer


def until_closed(peer) -> bytes:
    """What comes until the other side closes."""
    got = b""
    try:
        while part := peer.recv(65536):
            got += part
    except OSError:
        pass
    return got


def check_alive(listener):
    """An honest sender is served as ever."""
    image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    entity = AE(ae_title="HONEST")
    entity.add_requested_context(CT, image.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
    assert association.is_established
    assert association.send_c_store(image).Status == 0
    association.release()


def reasons(listener):
    return service_account(listener.catalog)["refusals"]


HOSTILE = {
    "no request at all": ([b"GET / HTTP/1.1\r\n\r\n"], "unknown-pdu"),
    "data before a request": ([data(1, b"x", command=True)], "no-association-request"),
    "a request of absurd length": ([struct.pack(">BxL", 1, 0xFFFFFFFF)], "pdu-too-long"),
    "a request that is cut short": ([struct.pack(">BxL", 1, 40) + bytes(40)], "malformed-pdu"),
    "half a request and silence": ([request()[:30]], "slow"),
    "data of absurd length": ([request(), struct.pack(">BxL", 4, 0x7FFFFFFF)], "pdu-too-long"),
    "a fragment longer than its PDU": ([request(), struct.pack(">BxLLBB", 4, 6, 999, 1, 3)], "malformed-pdu"),
    "a context that was not agreed": ([request(), data(9, store_command(), command=True)], "unknown-context"),
    "a data set without a command": ([request(), data(1, b"x" * 20, command=False)], "fragments-out-of-order"),
    "a command of garbage": ([request(), data(1, b"\xff" * 40, command=True)], "malformed-command"),
    "a command without end": ([request(), *[data(1, bytes(16000), command=True, last=False)] * 9], "command-too-long"),
    "command fragments without content": (
        [request(), *[data(1, b"", command=True, last=False)] * 500],
        "endless-fragments",
    ),
    "data fragments without content": (
        [request(), data(1, store_command(), command=True), *[data(1, b"", command=False, last=False)] * 500],
        "endless-fragments",
    ),
    "a second request": ([request(), request()], "unexpected-pdu"),
    "a release in a message": (
        [request(), data(1, store_command(), command=True), struct.pack(">BxL4x", 5, 4)],
        "released-in-a-message",
    ),
    "silence in a data set": (
        [request(), data(1, store_command(), command=True), data(1, bytes(8), command=False, last=False)],
        "idle",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_hostile_stream_ends_with_its_reason(listener, name):
    stream, reason = HOSTILE[name]
    before = sum(count for word, count in reasons(listener).items() if reason in word)
    with connected(listener) as peer:
        peer.sendall(b"".join(stream))
        until_closed(peer)
    deadline = time.monotonic() + 5
    while sum(c for w, c in reasons(listener).items() if reason in w) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sum(c for w, c in reasons(listener).items() if reason in w) == before + 1, reasons(listener)
    check_alive(listener)


def test_a_request_that_drips_is_ended_by_the_clock_of_the_association(listener):
    """Each byte comes in time, the whole would take minutes: the limit is for TLS and the request together."""
    whole, ended = request(), False
    with connected(listener) as peer:
        peer.settimeout(0.2)
        for index in range(len(whole) - 1):
            try:
                peer.sendall(whole[index : index + 1])
                if not peer.recv(100):
                    ended = True
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended
        assert index < len(whole) - 2
    check_alive(listener)


def test_an_abort_at_each_pdu_leaves_nothing_half_written(listener):
    image = io.BytesIO()
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.file_meta.TransferSyntaxUID = IMPLICIT
    dataset.save_as(image, implicit_vr=True, enforce_file_format=False)
    body = image.getvalue()
    pdus = [data(1, store_command("1.2.9.9"), command=True)]
    pdus += [data(1, body[i : i + 4000], command=False, last=i + 4000 >= len(body)) for i in range(0, len(body), 4000)]
    held = service_account(listener.catalog)["totals"]["instances"]
    for count in range(len(pdus)):
        with established(listener) as peer:
            peer.sendall(b"".join(pdus[:count]) + struct.pack(">BxLxxBB", 7, 4, 0, 0))
            until_closed(peer)
    deadline = time.monotonic() + 5
    while list((listener.spool.folder / "incoming").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list((listener.spool.folder / "incoming").iterdir())
    assert service_account(listener.catalog)["totals"]["instances"] == held
    check_alive(listener)


def test_an_endless_object_is_ended_and_takes_no_room(listener):
    with established(listener) as peer:
        peer.sendall(data(1, store_command("1.2.7.7"), command=True))
        piece = data(1, bytes(16000), command=False, last=False)
        deadline, ended = time.monotonic() + 20, False
        try:
            while time.monotonic() < deadline:
                peer.sendall(piece)
        except OSError:
            ended = True
    assert ended
    assert any("endless-object" in reason for reason in reasons(listener))
    assert sum(f.stat().st_size for f in listener.spool.folder.rglob("*") if f.is_file()) < 50_000_000
    check_alive(listener)


def test_half_open_associations_hold_up_nobody(listener):
    idle = [established(listener) for _ in range(30)]
    try:
        start = time.monotonic()
        check_alive(listener)
        assert time.monotonic() - start < 30
    finally:
        for peer in idle:
            peer.close()


pieces = st.one_of(
    st.binary(max_size=60),
    st.just(request()),
    st.builds(data, st.sampled_from([1, 3, 255]), st.binary(max_size=80), command=st.booleans(), last=st.booleans()),
    st.builds(lambda kind, length, rest: struct.pack(">BxL", kind, length) + rest,
              st.integers(0, 9), st.integers(0, 200), st.binary(max_size=200)),
    st.just(data(1, store_command(), command=True)),
    st.just(struct.pack(">BxL4x", 5, 4)),
)  # fmt: skip


def throw(listener, stream):
    with connected(listener) as peer:
        try:
            peer.sendall(stream)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            return
        until_closed(peer)


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=300, **FUZZ)
@given(stream=st.lists(pieces, max_size=6).map(b"".join), agreed=st.booleans())
def test_no_stream_of_pdus_harms_the_listener(listener, stream, agreed):
    throw(listener, (request() if agreed else b"") + stream)


def test_after_the_fuzzing_the_listener_is_as_it_was(listener):
    check_alive(listener)
    deadline = time.monotonic() + 10
    while service_account(listener.catalog)["totals"]["associations"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service_account(listener.catalog)["totals"]["associations"] == 0
    assert "ended: internal-error" not in reasons(listener)


@pytest.mark.long
@settings(max_examples=20000, **FUZZ)
@given(stream=st.lists(pieces, max_size=8).map(b"".join), agreed=st.booleans())
def test_tens_of_thousands_of_streams(listener, stream, agreed):
    throw(listener, (request() if agreed else b"") + stream)
