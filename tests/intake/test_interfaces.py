"""Closed by default: who may come in, for what, how, and for how long. Each setting of the listener that closes a door."""

import contextlib
import ipaddress
import shutil
import socket
import struct
import subprocess
import time

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pynetdicom import AE

from dicom_pipeline.acceptor.admission import admits_address, check_address
from dicom_pipeline.acceptor.tls_advice import handshake_advice
from dicom_pipeline.audit import AlertKind, Transferred
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.acceptor.test_hostile import CT, data, request, store_command
from tests.maintenance.test_doctor import signed
from tests.peers.certificates import Authority
from tests.peers.programs import free_port, need, wait_until

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def listening(tmp_path):
    """Start listeners with settings; each has `facts`, what it told the audit trail."""
    started = []

    def start(**options):
        folder = tmp_path / f"spool{len(started)}"
        settings = ListenerSection(port=free_port(), **options)
        facts = []
        listener = ListeningNode(settings, Catalog(folder / "catalog.sqlite"), Spool(folder), "run", facts.append)
        listener.start()
        listener.facts = facts
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop()
        listener.catalog.close()


def connected(listener, host="127.0.0.1"):
    peer = socket.create_connection((host, listener.settings.port), 20)
    peer.settimeout(20)
    return peer


def answer(listener, stream=None, host="127.0.0.1"):
    """The first ten bytes that the listener says to a request."""
    with connected(listener, host) as peer:
        peer.sendall(request() if stream is None else stream)
        return peer.recv(10)


def reasons(listener):
    return service_account(listener.catalog)["refusals"]


def wait_reason(listener, reason, count=1):
    wait_until(lambda: reasons(listener).get(reason, 0) >= count, 30, f"no {reason}: {reasons(listener)}")


def rejection(said):
    """Result, source, diagnostic of an A-ASSOCIATE-RJ; None for anything else."""
    return tuple(said[7:10]) if said[:1] == b"\x03" else None


@pytest.mark.parametrize(
    "text", ["10.1.0.0/33", "10.1.0.5/16", "hospital", "", "10.1.0.0/16 10.2.0.0/16", "fe80::/200"]
)
def test_what_is_no_network_is_said_at_the_start(tmp_path, text):
    settings = ListenerSection(networks=("127.0.0.1", text))
    with pytest.raises(ConfigError, match=r"listener\.networks"):
        check_address(settings)
    with pytest.raises(ConfigError, match=r"listener\.networks"):
        ListeningNode(settings, Catalog(tmp_path / "c.sqlite"), Spool(tmp_path), "run")


@given(address=st.ip_addresses(v=4), length=st.integers(0, 32), other=st.ip_addresses(v=4))
def test_networks_admit_what_lies_in_them(address, length, other):
    network = str(ipaddress.ip_network((address, length), strict=False))
    assert admits_address((network,), str(address))
    assert admits_address((network,), f"::ffff:{address}")
    assert admits_address((network,), str(other)) == (other in ipaddress.ip_network(network))
    assert not admits_address(("2001:db8::/32",), str(address))
    assert admits_address((), str(address))


def test_source_networks_and_the_loopback_of_ipv6(listening):
    listener = listening(host="::1", networks=("::1/128",))
    assert answer(listener, host="::1")[:1] == b"\x02"
    closed = listening(host="::1", networks=("2001:db8::/32", "127.0.0.0/8"))
    assert rejection(answer(closed, host="::1")) == (1, 1, 1)
    assert [fact.kind for fact in closed.facts] == [AlertKind.NODE_AUTHENTICATION]
    assert closed.facts[0].node.address == "::1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "pacs.example"])
def test_every_address_beyond_loopback_needs_a_word(host):
    with pytest.raises(ConfigError, match="allow_remote"):
        check_address(ListenerSection(host=host))
    check_address(ListenerSection(host=host, allow_remote=True))


def test_only_the_named_sop_classes_are_taken(listening):
    listener = listening(sop_classes=("CTImageStorage",))
    entity = AE(ae_title="TEST")
    for uid in (CT, MR):
        entity.add_requested_context(uid)
    association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
    assert [str(c.abstract_syntax) for c in association.accepted_contexts] == [CT]
    association.release()
    with pytest.raises(ConfigError, match="not a Storage SOP class"):
        listening(sop_classes=("Verification",))


RETIRED, PRIVATE = "1.2.840.10008.5.1.4.1.1.5", "1.2.752.24.3.7.6"


def test_retired_and_private_classes_are_taken_where_a_setting_names_them(listening):
    def sent(listener, sop_class) -> int | None:
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{sop_class[-1]}"
        entity = AE(ae_title="TEST")
        entity.add_requested_context(sop_class)
        association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
        status = association.send_c_store(dataset).Status if association.accepted_contexts else None
        association.release()
        return status

    strict = listening()
    assert [sent(strict, uid) for uid in (RETIRED, PRIVATE, CT)] == [None, None, 0]
    open_to_more = listening(extra_sop_classes=("NuclearMedicineImageStorageRetired", PRIVATE))
    assert [sent(open_to_more, uid) for uid in (RETIRED, PRIVATE, CT)] == [0, 0, 0]
    named = listening(extra_sop_classes=(PRIVATE,), sop_classes=(PRIVATE,))
    assert [sent(named, uid) for uid in (PRIVATE, CT)] == [0, None]
    with pytest.raises(ConfigError, match=r"extra_sop_classes: .*found \['NoSuchStorage'\]"):
        listening(extra_sop_classes=("NoSuchStorage",))


def test_a_refused_context_is_told_in_log_status_and_audit(listening, caplog):
    listener = listening()
    entity = AE(ae_title="CT1")
    for uid in (CT, RETIRED, PRIVATE):
        entity.add_requested_context(uid)
    entity.add_requested_context(CT, "1.2.840.10008.1.2.4.100")  # MPEG2, beside a context of the class that is accepted
    association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
    association.release()
    told = ["context-refused: NuclearMedicineImageStorageRetired", f"context-refused: {PRIVATE}"]
    wait_reason(listener, told[1])
    assert reasons(listener) == dict.fromkeys(told, 1)
    assert [line for line in told if f"CT1: {line}" in caplog.text] == told
    wait_until(lambda: len(listener.facts) >= 2, 30, "the audit trail was not told")
    assert [fact.words for fact in listener.facts[:2]] == told


def titles(called: bytes, calling: bytes) -> bytes:
    stream = bytearray(request())
    stream[10:42] = called.ljust(16) + calling.ljust(16)
    return bytes(stream)


@pytest.mark.parametrize(
    ("called", "calling", "said"),
    [
        (b"DICOMPIPE\0", b"CT1\0\0\0", None),
        (b"DICOMPIPE\0ABC", b"CT1\0\xff\x07\\n", None),  # what stands behind the NUL is not part of the title
        (b" DICOMPIPE", b" CT1", None),
        (b"", b"CT1", (1, 1, 7)),
        (b"\0DICOMPIPE", b"CT1", (1, 1, 7)),
        (b"DICOMPIPE", b"", (1, 1, 3)),
        (b"DICOMPIPE", b"\0\0\0", (1, 1, 3)),
        (b"OTHER\0", b"CT1", (1, 1, 7)),
    ],
)
def test_titles_end_at_the_first_nul_and_blank_ones_are_rejected(listening, called, calling, said):
    listener = listening(calling_ae_titles=("CT1",), require_called_ae=True)
    first = answer(listener, titles(called, calling))
    assert rejection(first) == said
    assert (first[:1] == b"\x02") == (said is None)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_associations": 2}, "rejected: too-many-associations"),
        ({"max_associations_per_peer": 2}, "rejected: too-many-associations-of-peer"),
    ],
)
def test_more_associations_than_allowed_are_congestion_and_pass(listening, limits, reason):
    listener = listening(**limits)
    peers = [connected(listener) for _ in range(2)]
    try:
        for peer in peers:
            peer.sendall(request())
            assert peer.recv(10)[:1] == b"\x02"
        assert rejection(answer(listener)) == (2, 3, 2)
        assert reasons(listener) == {reason: 1}
    finally:
        for peer in peers:
            peer.close()
    wait_until(lambda: answer(listener)[:1] == b"\x02", 30, "the places were not free again")


def test_a_connection_that_says_nothing_is_ended(listening):
    listener = listening(association_timeout_seconds=0.5)
    with connected(listener) as peer:
        assert peer.recv(10)[:1] in (b"\x07", b"")
    wait_reason(listener, "ended: idle")


def test_an_association_that_is_silent_between_messages_is_ended(listening):
    listener = listening(idle_timeout_seconds=0.5)
    with connected(listener) as peer:
        peer.sendall(request())
        assert peer.recv(4096)[:1] == b"\x02"
        assert peer.recv(4096)[:1] in (b"\x07", b"")
    wait_reason(listener, "ended: idle")


def test_a_sender_that_is_too_slow_is_ended_and_told_as_an_alert(listening, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.acceptor.association.RATE_GRACE_SECONDS", 0.5)
    listener = listening(min_bytes_per_second=100_000)
    with connected(listener) as peer:
        peer.sendall(request())
        assert peer.recv(4096)[:1] == b"\x02"
        peer.sendall(data(1, store_command("1.2.3.9"), command=True))
        deadline = time.monotonic() + 20
        try:
            while time.monotonic() < deadline:
                peer.sendall(data(1, bytes(100), command=False, last=False))
                time.sleep(0.1)
        except OSError:
            pass
    wait_reason(listener, "ended: slow-sender")
    wait_until(lambda: [f.words for f in listener.facts] == ["ended: slow-sender"], 10, f"no alert: {listener.facts}")


def test_larger_pdus_than_agreed_are_refused(listening):
    listener = listening(max_pdu_bytes=4096)
    with connected(listener) as peer:
        peer.sendall(request())
        said = peer.recv(4096)
        assert struct.pack(">BxHL", 0x51, 4, 4096) in said
        peer.sendall(data(1, bytes(5000), command=True))
        assert peer.recv(4096)[:1] == b"\x07"
    wait_reason(listener, "ended: pdu-too-long")


def test_what_an_association_stored_is_told_when_it_ends(listening):
    listener = listening()
    image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    entity = AE(ae_title="CT1")
    entity.add_requested_context(CT, image.file_meta.TransferSyntaxUID)
    for _ in range(2):
        association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
        assert association.send_c_store(image).Status == 0
        image.PatientName = "Other^Name"
        assert association.send_c_store(image).Status == 0
        assert association.send_c_store(image).Status == 0
        image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        association.release()
    wait_until(
        lambda: sum(sum(f.study.classes.values()) for f in listener.facts) == 6, 20, f"not told: {listener.facts}"
    )
    told = [(type(f), f.peer.ae_title, f.peer.address, f.held.value, f.study.classes[CT]) for f in listener.facts]
    each = (Transferred, "CT1", "127.0.0.1")
    assert sorted(told[:3]) == [(*each, "nothing", 1), (*each, "other", 1), (*each, "same", 1)]
    assert told[3:] == [(*each, "same", 3)]
    assert {f.study.patient_id for f in listener.facts} == {str(image.PatientID)}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secured(listening, authority, tmp_path):
    """A TLS listener that asks for certificates, and copies of its files that a test may change."""
    files = []
    for path in authority.issue("listener"):
        files.append(tmp_path / path.name)
        shutil.copy(path, files[-1])
    listener = listening(tls_certificate=files[0], tls_key=files[1], tls_ca=authority.certificate)
    listener.client = authority.issue("client")
    return listener


def s_client(listener, *options, with_certificate=True):
    """What openssl s_client says of a handshake and its version."""
    certificate, key = listener.client
    shown = ["-cert", certificate, "-key", key] if with_certificate else []
    command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{listener.settings.port}", *shown, *options]
    done = subprocess.run(list(map(str, command)), input=request(), capture_output=True, timeout=60, check=False)
    return done.stdout.decode("latin-1")


@pytest.mark.system
@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_3",),
        ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"),
        ("-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"),
    ],
)
def test_what_bcp_195_recommends_is_spoken(secured, options):
    said = s_client(secured, *options)
    assert "Cipher is (NONE)" not in said
    wanted = options[-1] if len(options) > 1 else "TLSv1.3"
    assert wanted in said


@pytest.mark.system
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), "tls: unsupported-protocol"),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "tls: unsupported-protocol"),
        (("-tls1_2", "-cipher", "AES128-SHA"), "tls: no-shared-cipher"),
        (("-tls1_2", "-cipher", "AES128-GCM-SHA256"), "tls: no-shared-cipher"),  # no forward secrecy
        (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"), "tls: no-shared-cipher"),  # CBC
        (
            ("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"),
            "tls: no-shared-cipher",
        ),  # RFC 9325 4.1: no finite fields
        (("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"), "tls: no-shared-cipher"),
    ],
)
def test_old_protocols_and_weak_ciphers_are_refused_with_a_reason(secured, options, reason):
    said = s_client(secured, *options)
    assert "Cipher is (NONE)" in said
    wait_reason(secured, reason)
    wait_until(
        lambda: [(f.kind, f.words) for f in secured.facts] == [(AlertKind.NODE_AUTHENTICATION, reason)], 10, "alert"
    )


@pytest.mark.system
def test_a_peer_without_a_certificate_or_without_tls_is_refused_with_a_reason(secured):
    s_client(secured, "-tls1_2", with_certificate=False)
    wait_reason(secured, "tls: peer-did-not-return-a-certificate")
    with connected(secured) as peer:
        peer.sendall(request())
        with contextlib.suppress(ConnectionResetError):
            peer.recv(100)
    wait_until(lambda: len(reasons(secured)) == 2, 20, f"no second reason: {reasons(secured)}")
    assert all(reason.startswith("tls: ") for reason in reasons(secured))


@pytest.mark.system
@pytest.mark.parametrize(
    ("since", "until", "reason"),
    [
        ("20200101000000Z", "20210101000000Z", "tls: certificate-has-expired"),
        ("20980101000000Z", "20990101000000Z", "tls: certificate-is-not-yet-valid"),
    ],
)
def test_a_certificate_out_of_its_time_is_told_from_one_of_a_stranger(secured, authority, since, until, reason):
    secured.client = signed(authority, f"client-{since}", since, until)
    s_client(secured, "-tls1_2")
    wait_reason(secured, reason)
    assert handshake_advice(reason) != handshake_advice("tls: certificate-verify-failed")


@pytest.mark.system
def test_a_handshake_that_never_comes_is_ended(listening, authority):
    certificate, key = authority.issue("listener")
    listener = listening(tls_certificate=certificate, tls_key=key, association_timeout_seconds=0.5)
    with connected(listener) as peer:
        assert peer.recv(10) == b""
    wait_reason(listener, "tls: timeout")


@pytest.mark.system
def test_renewed_files_that_do_not_fit_leave_the_earlier_ones_in_use(secured, caplog):
    secured.settings.tls_key.write_text("no key")
    said = s_client(secured, "-tls1_2")
    assert "Cipher is (NONE)" not in said
    assert "the earlier ones stay" in caplog.text


def test_a_port_that_is_taken_is_named(listening, tmp_path):
    settings = listening().settings
    with pytest.raises(ConfigError, match=rf"listener\.port {settings.port} on 127\.0\.0\.1 cannot be used"):
        ListeningNode(settings, Catalog(tmp_path / "other.sqlite"), Spool(tmp_path / "other"), "run").start()


def test_the_log_names_who_was_rejected_and_tells_of_no_success(listening, caplog):
    listener = listening(calling_ae_titles=("CT1",))
    answer(listener, request())
    wait_reason(listener, "rejected: calling-ae")
    (line,) = [r.getMessage() for r in caplog.records if "rejected" in r.getMessage()]
    assert line.endswith(": rejected: calling-ae")
    assert "0x0000" not in line
