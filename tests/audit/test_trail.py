"""The files of the trail: whole lines from many processes, in order, bounded, readable by their owner alone."""

import json
import multiprocessing
import os
import re
import socket
import stat
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.audit import Activity, AlertKind, Held, Node, Trail
from dicom_pipeline.audit.alerts import MAX_KINDS, QUIET_SECONDS, Alerts
from dicom_pipeline.audit.forwarder import Forwarder
from dicom_pipeline.audit.syslog import MAX_UDP_BYTES, Datagrams, SecureStream, syslog_message, tls_client_context
from dicom_pipeline.audit.trail import files_of
from dicom_pipeline.audit.transfers import MAX_SECONDS, ThreadTransfers, Transfers
from dicom_pipeline.errors import ConfigError
from tests.audit.facts import CT, FACTS, ORIGIN
from tests.peers.certificates import Authority
from tests.peers.programs import wait_until
from tests.peers.syslog import SyslogServer, parts_of


def trail(folder, **limits):
    return Trail(folder / "audit", ORIGIN, limits.pop("max_bytes", 10**6), **limits)


def lines(folder):
    return [line for path in files_of(folder / "audit") for line in path.read_text().splitlines()]


def many(folder, number):
    for index in range(100):
        trail(folder, max_bytes=20_000).write(f"<AuditMessage>{number} {index}{'x' * (index * 7)}</AuditMessage>")


def test_many_processes_write_whole_lines_and_files_end_at_their_size(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=many, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = [re.fullmatch(r"<AuditMessage>(\d) (\d+)x*</AuditMessage>", line) for line in lines(tmp_path)]
    assert all(found)
    for number in "012":
        assert [int(f[2]) for f in found if f[1] == number] == list(range(100))
    files = files_of(tmp_path / "audit")
    assert len(files) > 3
    assert all(path.stat().st_size <= 20_000 for path in files)


def test_only_the_owner_may_read(tmp_path):
    old = os.umask(0)
    try:
        trail(tmp_path).record(FACTS["received"])
    finally:
        os.umask(old)
    folder = tmp_path / "audit"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_disk_that_is_gone_is_not_made_anew_in_its_place(tmp_path, caplog):
    disk = tmp_path / "disk"
    disk.mkdir()
    trail = Trail(disk / "audit", ORIGIN, 2000)
    trail.record(Activity(1.0, started=True))
    disk.rename(tmp_path / "away")
    trail.record(Activity(2.0, started=False))
    assert "was not written" in caplog.text
    assert not disk.exists()
    (tmp_path / "away").rename(disk)
    trail.record(Activity(3.0, started=True))
    assert len(files_of(disk / "audit")[0].read_text().splitlines()) == 2


def test_old_files_are_kept_unless_a_number_is_set(tmp_path):
    everything, few = trail(tmp_path / "all", max_bytes=4096), trail(tmp_path / "few", max_bytes=4096, keep_files=2)
    for number in range(20):
        for one in (everything, few):
            one.write(f"{number} " + "x" * 2000)
    assert len(files_of(tmp_path / "all" / "audit")) == 10
    assert [path.name for path in files_of(tmp_path / "few" / "audit")] == ["audit-000009.log", "audit-000010.log"]


def test_a_line_that_a_power_cut_left_torn_spoils_no_other(tmp_path):
    one = trail(tmp_path)
    one.write("<AuditMessage>1</AuditMessage>")
    with (tmp_path / "audit" / "audit-000001.log").open("a") as stream:
        stream.write("<AuditMess")
    one.write("<AuditMessage>2</AuditMessage>")
    assert lines(tmp_path) == ["<AuditMessage>1</AuditMessage>", "<AuditMess", "<AuditMessage>2</AuditMessage>"]


def test_a_full_disk_leaves_nothing_half_written_and_is_an_error_in_the_log(tmp_path, monkeypatch, caplog):
    one = trail(tmp_path)
    one.record(FACTS["received"])
    whole = lines(tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("dicom_pipeline.audit.trail.os.write", lambda handle, content: write(handle, content[:100]))
        one.record(FACTS["received"])
    assert lines(tmp_path) == whole
    assert "an audit message of Transferred was not written: No space left" in caplog.text


def test_what_one_association_sent_is_one_message_a_study_and_kind():
    facts = []
    transfers = Transfers(facts.append)
    sender = Node("CT1", "10.0.0.1", "CT1")
    for study, held in [("1.2", Held.NOTHING)] * 3 + [("1.3", Held.NOTHING), ("1.2", Held.SAME), ("1.2", Held.OTHER)]:
        transfers.add(sender, study, CT, held)
    transfers.flush()
    transfers.flush()
    told = [(f.study.study_instance_uid, f.study.classes[CT], f.held, f.outcome.value) for f in facts]
    assert told == [("1.2", 3, "nothing", 0), ("1.3", 1, "nothing", 0), ("1.2", 1, "same", 0), ("1.2", 1, "other", 4)]


def test_an_association_without_end_is_told_of_in_parts():
    facts, now = [], [0.0]
    transfers = Transfers(facts.append, lambda: now[0])
    for second in range(int(MAX_SECONDS * 2.5)):
        now[0] = second
        transfers.add(Node("A"), "1.2", CT, Held.NOTHING)
    assert len(facts) == 2
    transfers.flush()
    assert sum(fact.study.classes[CT] for fact in facts) == int(MAX_SECONDS * 2.5)


def test_threads_tell_of_their_own_requests_alone():
    facts = []
    transfers = ThreadTransfers(facts.append)

    def other():
        transfers.add(Node("B"), "2.2", CT, Held.NOTHING)
        transfers.flush()

    transfers.add(Node("A"), "1.1", CT, Held.NOTHING)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert [fact.peer.name for fact in facts] == ["B"]
    transfers.flush()
    assert [fact.peer.name for fact in facts] == ["B", "A"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3 * QUIET_SECONDS)), max_size=40))
def test_every_alert_is_counted_and_repetitions_are_told_together(events):
    facts, now = [], [0.0]
    alerts = Alerts(facts.append, lambda: now[0])
    for address, pause in events:
        now[0] += pause
        alerts.alert(AlertKind.NODE_AUTHENTICATION, Node(address, address), "rejected: called-ae")
    alerts.flush()
    for address in "ab":
        told = sum(fact.count for fact in facts if fact.node.address == address)
        assert told == sum(a == address for a, _ in events)
    spans = 1 + sum(pause for _, pause in events) / QUIET_SECONDS
    assert len(facts) <= 2 * 2 * spans  # of each address in each span: the first, and how many more


def test_a_port_scan_from_everywhere_takes_bounded_memory():
    facts = []
    alerts = Alerts(facts.append)
    for number in range(MAX_KINDS + 10):
        alerts.alert(AlertKind.ASSOCIATION_FAILURE, Node(str(number), str(number)), "ended: unknown-pdu")
    assert len(alerts._told) <= MAX_KINDS
    assert len(facts) == MAX_KINDS + 10


def test_a_syslog_message_is_as_rfc_5424_and_ps3_15_a_6_want_it(tmp_path):
    trail(tmp_path).record(FACTS["received"])
    trail(tmp_path).record(FACTS["alert"])
    good, warning = [syslog_message(line, "host", 7) for line in lines(tmp_path)]
    assert parts_of(good)[:6] == ["85", "2025-11-25T00:20:00.250+00:00", "host", "dicom-pipeline", "7", "DICOM+RFC3881"]
    assert parts_of(warning)[0] == "84"
    assert parts_of(good)[6] == lines(tmp_path)[0]


@pytest.fixture
def running():
    """Run a forwarder until the test ends."""
    stop, threads = threading.Event(), []

    def start(forwarder):
        threads.append(threading.Thread(target=forwarder.run, args=(stop,)))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_messages_go_by_udp_and_one_too_long_is_said(tmp_path, running, caplog):
    one = trail(tmp_path)
    one.record(FACTS["received"])
    one.write(f"<AuditMessage>{'x' * MAX_UDP_BYTES}</AuditMessage>")
    one.record(FACTS["alert"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        running(Forwarder(tmp_path / "audit", Datagrams("127.0.0.1", server.getsockname()[1])))
        came = [parts_of(server.recv(70000))[6] for _ in range(2)]
        one.record(FACTS["stopped"])
        came.append(parts_of(server.recv(70000))[6])
    told = lines(tmp_path)
    assert came == [told[0], told[2], told[3]]
    assert "does not fit a datagram" in caplog.text


@pytest.mark.system
def test_messages_go_by_tls_through_an_outage_and_a_restart(tmp_path, running, caplog):
    authority = Authority(tmp_path / "ca")
    client = authority.issue("client")
    server = SyslogServer(authority)
    context = tls_client_context(authority.certificate, *client)
    one = trail(tmp_path, max_bytes=4096)
    for _ in range(5):
        one.record(FACTS["received"])
    running(Forwarder(tmp_path / "audit", SecureStream("localhost", server.port, context)))
    wait_until(lambda: "takes no messages" in caplog.text, 30, "nothing was said of a server that is away")
    assert "bytes wait in the files" in caplog.text
    server.start()
    wait_until(lambda: len(server.messages) == 5, 60, "the messages did not come")
    wait_until(lambda: "takes messages again" in caplog.text, 30, "the recovery was not said")
    server.stop()
    one.record(FACTS["alert"])
    one.record(FACTS["report"])
    server.start()
    wait_until(lambda: len(server.messages) >= 7, 60, "the messages of the outage did not come")
    assert [parts_of(message)[6] for message in server.messages] == lines(tmp_path)
    assert len(files_of(tmp_path / "audit")) > 1
    server.stop()


@pytest.mark.system
def test_a_syslog_server_that_is_not_trusted_gets_nothing(tmp_path, running, caplog):
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "stranger", "Stranger")
    server = SyslogServer(authority).start()
    context = tls_client_context(stranger.certificate, *authority.issue("client"))
    trail(tmp_path).record(FACTS["received"])
    running(Forwarder(tmp_path / "audit", SecureStream("127.0.0.1", server.port, context)))
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, 30, "the reason was not said")
    assert server.messages == []
    server.stop()


def test_tls_files_that_do_not_work_are_named(tmp_path):
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"audit\.syslog_ca = .*x\.pem: expected a PEM file"):
        tls_client_context(tmp_path / "x.pem", None, None)


class Kept:
    """A carrier that keeps what it is given, and fails where told to."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.room = 10**9

    def send(self, message):
        if len(self.sent) >= self.room:
            raise ConnectionResetError(104, "reset")
        self.sent.append(parts_of(message)[6])

    def close(self):
        pass


def test_what_was_sent_is_remembered_and_what_was_not_is_sent_next(tmp_path):
    one, carrier, stop = trail(tmp_path, max_bytes=4096), Kept(), threading.Event()
    for number in range(30):
        one.write(f'<AuditMessage n="{number}">{"x" * 300}</AuditMessage>')
    carrier.room = 17
    with pytest.raises(OSError, match="reset"):
        Forwarder(tmp_path / "audit", carrier).send_new(stop)
    assert Forwarder(tmp_path / "audit", carrier).waiting_bytes() == sum(len(line) + 1 for line in lines(tmp_path)[17:])
    carrier.room = 100
    assert Forwarder(tmp_path / "audit", carrier).send_new(stop) == 13
    assert carrier.sent == lines(tmp_path)
    assert Forwarder(tmp_path / "audit", carrier).send_new(stop) == 0


def test_a_line_that_is_still_being_written_waits(tmp_path):
    carrier, stop = Kept(), threading.Event()
    folder = tmp_path / "audit"
    folder.mkdir()
    with (folder / "audit-000001.log").open("w") as stream:
        stream.write("<AuditMessage>1</AuditMessage>\n<Audit")
        stream.flush()
        assert Forwarder(folder, carrier).send_new(stop) == 1
        stream.write("Message>2</AuditMessage>\n")
    Forwarder(folder, carrier).send_new(stop)
    assert carrier.sent == ["<AuditMessage>1</AuditMessage>", "<AuditMessage>2</AuditMessage>"]


def test_files_that_went_before_they_were_sent_are_said(tmp_path, caplog):
    one, carrier, stop = trail(tmp_path, max_bytes=4096, keep_files=1), Kept(), threading.Event()
    one.write("<AuditMessage>1</AuditMessage>")
    Forwarder(tmp_path / "audit", carrier).send_new(stop)
    for number in range(2, 20):
        one.write(f"<AuditMessage>{number}{'x' * 1000}</AuditMessage>")
    Forwarder(tmp_path / "audit", carrier).send_new(stop)
    assert "was removed before the syslog had all of it" in caplog.text
    assert carrier.sent[1:] == lines(tmp_path)
    assert json.loads((tmp_path / "audit" / "sent.json").read_text())["file"] == files_of(tmp_path / "audit")[-1].name
    assert time.time() - (tmp_path / "audit" / "sent.json").stat().st_mtime < 600
