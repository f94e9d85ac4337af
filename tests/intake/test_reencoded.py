"""The same instance again, written in another way, by every door: Success without work, and nothing kept of it."""

import copy
import os
import signal
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from dicom_pipeline.audit import Held
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.arrivals import Arrival, Received, enter_same, enter_unless_conflict
from dicom_pipeline.catalog.revisions import waiting_studies
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake import comparer
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from tests.peers.crashing import start_listener
from tests.peers.entries import record_instance
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until
from tests.peers.raw import CT, RawSender

SOURCE = Path(get_testdata_file("CT_small.dcm"))


def image(syntax=ExplicitVRLittleEndian, **changes) -> pydicom.Dataset:
    """CT_small in a transfer syntax, with attributes changed."""
    dataset = pydicom.dcmread(SOURCE)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False, encoding_plugin="pydicom")
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def file_of(dataset: pydicom.Dataset) -> bytes:
    stream = DicomBytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def body_of(dataset: pydicom.Dataset) -> bytes:
    """A file's data set alone, in implicit VR as RawSender sends it."""
    other = copy.deepcopy(dataset)
    other.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    content = file_of(other)
    return content[144 + int.from_bytes(content[140:144], "little") :]


class Door:
    """A listener, and receiver as by HTTP, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = []
        self.catalog = Catalog(folder / "catalog.sqlite")
        spool = Spool(folder)
        self.listener = ListeningNode(ListenerSection(port=free_port()), self.catalog, spool, "run", self.told.append)
        self.listener.start()
        self.receiver = Receiver(self.catalog, spool, 10**8, 0)

    def upload(self, dataset: pydicom.Dataset) -> UploadResult:
        return self.receiver.receive(file_of(dataset), source="TEST", address="127.0.0.1").result

    def send(self, dataset: pydicom.Dataset, peer: RawSender | None = None) -> int:
        """Send by C-STORE in implicit VR; the status."""
        ours = peer is None
        peer = peer or RawSender(self.listener.settings.port)
        status = peer.store(str(dataset.SOPInstanceUID), body_of(dataset))
        if ours:
            peer.release()
        return status

    @property
    def files(self) -> int:
        return len(list((self.folder / "instances").rglob("*.dcm")))

    @property
    def totals(self) -> tuple[int, int]:
        totals = service_account(self.catalog)["totals"]
        return totals["instances"], totals["conflicts"]


@pytest.fixture
def door(tmp_path):
    made = Door(tmp_path / "data")
    yield made
    made.listener.stop()
    made.receiver.comparison.close()
    made.catalog.close()


def test_what_comes_again_in_another_syntax_is_a_duplicate_by_every_door(door):
    assert door.upload(image()) is UploadResult.NEW
    (waiting,) = waiting_studies(door.catalog)
    assert door.send(image()) == 0
    assert door.upload(image(RLELossless)) is UploadResult.DUPLICATE
    assert door.upload(image(ImplicitVRLittleEndian)) is UploadResult.DUPLICATE
    assert door.upload(image(RLELossless)) is UploadResult.DUPLICATE
    assert (door.totals, door.files) == ((1, 0), 1)
    assert waiting_studies(door.catalog) == [waiting], "a duplicate is no work"
    assert service_account(door.catalog)["refusals"] == {}
    assert not list((door.folder / "incoming").iterdir())
    wait_until(lambda: any(getattr(fact, "held", None) for fact in door.told), 10, "the audit record")
    assert [fact.held for fact in door.told if hasattr(fact, "held")] == [Held.SAME]


def test_other_content_is_kept_apart_by_every_door(door):
    assert door.send(image()) == 0
    assert door.upload(image(RLELossless, PatientComments="another")) is UploadResult.CONFLICT
    assert door.send(image(PatientComments="a third")) == 0
    assert (door.totals, door.files) == ((1, 2), 3)
    assert door.upload(image(PatientComments="a third")) is UploadResult.DUPLICATE, "of what is kept apart"
    assert door.send(image(PatientComments="another")) == 0
    assert (door.totals, door.files) == ((1, 2), 3)


def test_two_associations_send_one_instance_at_once_in_two_ways(door):
    """Of both encodings in every order only one is kept, and everyone is told Success."""
    for number in range(4):
        uid = f"1.2.{number}"
        one, other = image(SOPInstanceUID=uid), image(RLELossless, SOPInstanceUID=uid)
        start = threading.Barrier(4)

        def send(dataset, start=start):
            start.wait()
            return door.send(dataset)

        def upload(dataset, start=start):
            start.wait()
            return door.upload(dataset)

        with ThreadPoolExecutor(4) as pool:
            ways = [
                pool.submit(send, one),
                pool.submit(send, one),
                pool.submit(upload, other),
                pool.submit(upload, one),
            ]
            answers = [way.result() for way in ways]
        assert answers[:2] == [0, 0]
        assert set(answers[2:]) <= {UploadResult.NEW, UploadResult.DUPLICATE}
        assert (door.totals, door.files) == ((number + 1, 0), number + 1)


def test_the_same_reencoded_bytes_at_once_are_discarded_once_all_are_done_with_them(door, monkeypatch):
    """The one that finishes first must not take the file from under the others."""
    assert door.upload(image()) is UploadResult.NEW
    same, together = Comparison.same, threading.Barrier(2)

    def both_wait(self, first, second):
        together.wait(60)
        return same(self, first, second)

    monkeypatch.setattr(Comparison, "same", both_wait)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(door.send, [image()] * 2)) == [0, 0]
    assert (door.totals, door.files) == ((1, 0), 1)


def test_a_kept_file_that_is_damaged_is_not_all_that_is_left(door):
    assert door.upload(image()) is UploadResult.NEW
    (path,) = (door.folder / "instances").rglob("*.dcm")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CompressedSamples^CT1 ", b"CompressedSamples^CT1\0"))
    assert path.read_bytes() != content
    assert door.upload(image(RLELossless)) is UploadResult.CONFLICT
    assert door.files == 2


def test_a_comparison_that_dies_is_a_conflict_and_the_next_one_works(door, monkeypatch):
    assert door.upload(image()) is UploadResult.NEW
    assert door.upload(image(RLELossless)) is UploadResult.DUPLICATE
    process = door.receiver.comparison._process
    exchange = Comparison._exchange

    def killed_meanwhile(self, question):
        os.kill(self._process.pid, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (self._process.pid, signal.SIGKILL)).start()
        return exchange(self, question)

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "_exchange", killed_meanwhile)
        patch.setattr(Comparison, "_start", lambda self: process)
        assert door.upload(image(RLELossless)) is UploadResult.CONFLICT
    assert door.files == 2
    assert door.upload(image(ImplicitVRLittleEndian)) is UploadResult.DUPLICATE
    assert door.files == 2


def test_a_comparison_ends_after_its_time_and_memory(tmp_path, monkeypatch):
    comparison, program = (
        Comparison(),
        "import time, dicom_pipeline.intake.comparer as c\n{}\nc.answer_questions()",
    )
    source = tmp_path / "a.dcm"
    source.write_bytes(SOURCE.read_bytes())
    cases = {
        "time": "c.MAX_SECONDS = 1; c.same_content = lambda *_: time.sleep(60)",
        "memory": "c.same_content = lambda *_: bytearray(2 * c.MAX_MEMORY_BYTES) is not None",
        "crash": "import os; c.same_content = lambda *_: os.abort()",
        "words": "c.same_content = lambda *_: print('same') or os.write(1, b'same\\n') and False",
    }
    for what, change in cases.items():
        monkeypatch.setattr("dicom_pipeline.intake.comparison.PROGRAM", program.format(f"import os; {change}"))
        began = time.monotonic()
        assert not comparison.same(source, source), what
        assert time.monotonic() - began < 15
        comparison._finalizer()
    monkeypatch.setattr("dicom_pipeline.intake.comparison.PROGRAM", program.format("pass"))
    assert comparison.same(source, source)
    idle = comparison._process
    comparison._finalizer()
    monkeypatch.setattr("dicom_pipeline.intake.comparison.PROGRAM", program.format("c.IDLE_SECONDS = 0.1"))
    assert comparison.same(source, source)
    wait_until(lambda: comparison._process.poll() is not None, 10, "the idle process ends")
    assert comparison.same(source, source)
    assert comparison._process is not idle
    comparison.close()
    assert not comparison.same(source, source)
    assert comparison._process.poll() is not None


def test_a_code_stream_that_wants_absurd_memory_is_a_conflict(door):
    """3.6 Gpixel are told in the code stream (SIZ, ISO/IEC 15444-1 A.5.1), 4096 in the data set."""
    known = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    honest = file_of(known)
    known.decompress(generate_instance_uid=False)
    assert door.upload(known) is UploadResult.NEW
    at = honest.index(b"\xff\x4f\xff\x51") + 8
    bomb = bytearray(honest)
    for place in (at, at + 16):
        bomb[place : place + 8] = struct.pack(">LL", 60_000, 60_000)
    assert door.receiver.receive(bytes(bomb), source="TEST", address="").result is UploadResult.CONFLICT
    assert door.receiver.receive(honest, source="TEST", address="").result is UploadResult.DUPLICATE
    assert door.send(image()) == 0


def test_too_much_to_compare_is_a_conflict_not_a_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.intake.comparison.MAX_SECONDS", 0.1)
    comparison = Comparison()
    with comparison._turn:
        assert not comparison.same(SOURCE, SOURCE)
    assert comparer.MAX_SECONDS <= 30, "senders wait for an answer no longer than that"


@pytest.mark.parametrize("reencoded", [True, False])
def test_killed_between_the_comparison_and_its_entry(tmp_path, reencoded):
    """What was not answered leaves no entry; sent again, it is what it was, and leaves no file without an entry."""
    port, folder = free_port(), tmp_path / "data"
    folder.mkdir()
    catalog = Catalog(folder / "catalog.sqlite")
    receiver = Receiver(catalog, Spool(folder), 10**8, 0)
    assert receiver.receive(file_of(image()), source="TEST", address="").result is UploadResult.NEW
    again = image() if reencoded else image(PatientComments="another")
    process = start_listener(folder, port, "compared:1")
    with pytest.raises(OSError, match=r".*"):
        RawSender(port).store(str(again.SOPInstanceUID), body_of(again))
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert service_account(catalog)["totals"]["conflicts"] == 0
    process = start_listener(folder, port)
    peer = RawSender(port)
    assert peer.store(str(again.SOPInstanceUID), body_of(again)) == 0
    peer.release()
    process.terminate()
    process.join(30)
    files = len(list((folder / "instances").rglob("*.dcm")))
    conflicts = service_account(catalog)["totals"]["conflicts"]
    catalog.close()
    assert (conflicts, files) == ((0, 1) if reencoded else (1, 2))


def received(content: str, path: str) -> Received:
    return Received("1.1", content, "1", "1.9", "c", "t", path, 1, "AE", "h", "", 1.0)


def test_what_changes_while_it_is_compared(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    (tmp_path / "b").write_bytes(b"b")
    again, discarded = received("bb", "b"), []

    def run(function, *arguments):
        with catalog.transaction() as transaction:
            return function(transaction, *arguments)

    assert run(enter_unless_conflict, received("aa", "a")) is Arrival.NEW
    (known,) = run(enter_unless_conflict, again)
    assert run(enter_same, again, known, lambda: discarded.append(1)) is Arrival.DUPLICATE
    assert discarded == [1]
    with catalog.transaction() as transaction:  # the cleaner was there
        transaction.connection.execute("UPDATE instance SET removed_at = 5.0")
    assert run(enter_same, again, known, lambda: discarded.append(2)) is Arrival.CONFLICT
    assert run(enter_same, again, known, lambda: discarded.append(3)) is Arrival.DUPLICATE
    assert discarded == [1], "the file is all that is left of it"
    assert run(enter_unless_conflict, received("cc", "c")) == (run(enter_unless_conflict, received("dd", "d")))
    with catalog.transaction() as transaction:
        transaction.connection.execute("UPDATE instance SET removed_at = 5.0")
    with pytest.raises(CatalogError, match="once more"):
        run(enter_same, received("ee", "e"), known, lambda: None)
    assert run(enter_unless_conflict, received("ff", "f")) is Arrival.CONFLICT, "nothing is left to compare with"
    assert record_instance(catalog, received("ff", "f")) is Arrival.DUPLICATE
    catalog.close()


@pytest.mark.system
def test_dcmtk_sends_one_instance_in_all_its_syntaxes(door, tmp_path):
    ways = {"dcmconv": "+ti", "dcmcrle": "", "dcmcjpeg": "+e1", "dcmcjpls": "+el"}
    files = [SOURCE]
    for tool, option in ways.items():
        files.append(tmp_path / f"{tool}.dcm")
        subprocess.run([need(tool), *([option] if option else []), SOURCE, files[-1]], check=True, capture_output=True)
    deflated = tmp_path / "deflated.dcm"
    subprocess.run([need("dcmconv"), "+td", SOURCE, deflated], check=True, capture_output=True)
    port = str(door.listener.settings.port)
    node = ["-aec", "DICOMPIPE", "127.0.0.1", port]
    options = {1: "-xe", 0: "-xe", 2: "-xr", 3: "-xs", 4: "-xt"}
    for number, option in options.items():
        command = [need("storescu"), option, *node, files[number]]
        subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, timeout=60)
    command = [need("dcmsend"), *node, deflated, *files]
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, timeout=60)
    assert (door.totals, door.files) == ((1, 0), 1)
    assert door.catalog.read("held_instances", study_instance_uid=str(image().StudyInstanceUID))
    lossy = tmp_path / "lossy.dcm"
    subprocess.run([need("dcmcjpeg"), "+eb", "+un", SOURCE, lossy], check=True, capture_output=True)
    command = [need("storescu"), "-xy", *node, lossy]
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, timeout=60)
    assert (door.totals, door.files) == ((1, 1), 2)
    assert pydicom.dcmread(lossy).SOPClassUID == CT
