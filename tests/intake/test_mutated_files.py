"""Real files with wrong bytes through what reads data sets as they come: no crash, no hang, no growth."""

import io
import os
import random
import resource
import time
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline.acceptor.dimse import decode
from dicom_pipeline.acceptor.operations import Context, Sender
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.dicom.identity import IdentityError, read_identity
from dicom_pipeline.domain import InstanceError
from dicom_pipeline.intake.group_commit import Committer
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.intake.store_operation import Store
from dicom_pipeline.planning import default_rules, plan_study, read_header
from tests.conftest import ROOT
from tests.peers.raw import store_command

pytestmark = pytest.mark.filterwarnings(
    "ignore"
)  # as in the service, whose log takes none: pydicom quotes what it finds odd

MAX_BYTES = 150_000
MAX_SECONDS = 10.0
"""For one input, on a machine that does other things too; a median one takes some milliseconds."""

MAX_GROWTH = 150 * 1024**2
"""Bytes of resident memory, after the first inputs."""

WORDS = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0", b"\xfe\xff\x0d\xe0", b"SQ\0\0", b"UN\0\0",
         b"\xff\xff\xff\x7f", b"../..", b"\\" * 8, b"OB\0\0\xff\xff\xff\xff"]  # fmt: skip


def sources() -> list[tuple[str, str, str, bytes]]:
    """Transfer syntax, SOP class, SOP Instance UID and data set of small real files: pydicom's, the samples, the corpus."""
    corpus = Path(os.environ.get("DICOM_CORPUS", ROOT.parent / "shared" / "corpus"))
    paths = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))  # what needs no download
    paths += sorted((ROOT / "sample_data").rglob("*.dcm"))[:10]
    paths += sorted(corpus.rglob("*.dcm"))[::40] if corpus.is_dir() else []
    found = []
    for path in paths:
        content = path.read_bytes()
        if len(content) < 400 or content[128:132] != b"DICM" or content[132:140] != b"\x02\0\0\0UL\x04\0":
            continue
        offset = 144 + int.from_bytes(content[140:144], "little")
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            names = str(meta.TransferSyntaxUID), str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        except (AttributeError, ValueError, pydicom.errors.InvalidDicomError):
            continue
        if offset < len(content):
            found.append((*names, content[offset : offset + MAX_BYTES]))
    assert len(found) > 30
    return found


def mutated(rng: random.Random, body: bytes, other: bytes) -> bytes:
    """A data set with up to six wrong places, most of them before the pixels."""
    made = bytearray(body)
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(max(1, min(len(made), rng.choice((300, 3000, len(made))))))
        kind = rng.randrange(7)
        if kind == 0:
            made[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            word = rng.choice(WORDS)
            made[at : at + len(word)] = word
        elif kind == 2:
            made[at:at] = rng.choice(WORDS) * rng.choice((1, 1, 1, 200))
        elif kind == 3:
            del made[at : at + rng.choice((1, 2, 4, 100))]
        elif kind == 4:
            del made[at:]
        elif kind == 5:
            start = rng.randrange(len(other))
            made[at : at + 400] = other[start : start + 400]
        else:
            made[at:at] = made[at : at + rng.randint(1, 2000)] * rng.choice((1, 1, 50))
    return bytes(made)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Throwing:
    """Throws inputs at a storage without a network; counts what became of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sources = sources()
        self.folder = folder
        self.settings = ListenerSection(max_inflated_bytes=50_000_000)
        catalog, spool = Catalog(folder / "catalog.sqlite"), Spool(folder)
        self.committer = Committer(catalog)
        self.committer.start()
        limits = {"max_object_bytes": 10**9, "max_inflated_bytes": self.settings.max_inflated_bytes}
        self.receiver = Receiver(catalog, spool, min_free_bytes=0, committer=self.committer, **limits)
        self.rules = default_rules()
        self.endings: Counter = Counter()
        self.slowest = 0.0

    def throw(self) -> None:
        syntax, sop_class, uid, body = self.rng.choice(self.sources)
        content = mutated(self.rng, body, self.rng.choice(self.sources)[3])
        began = time.monotonic()
        try:
            read_identity(io.BytesIO(content), syntax, self.settings.max_inflated_bytes)
        except IdentityError as error:
            self.endings[str(error)] += 1
        command = decode(bytearray(store_command(uid, sop_class)))
        store = Store(self.receiver, Sender("FUZZ", "127.0.0.1", "t"), Context(sop_class, syntax), command)
        store.write(memoryview(content))
        status, reason = store.finish()
        assert (status == 0) == (reason in ("", "own-object")), reason
        self.endings[f"0x{status:04X} {reason}"] += 1
        if status == 0 and not reason:
            self.plan()
        self.slowest = max(self.slowest, time.monotonic() - began)

    def plan(self) -> None:
        """What was taken goes on to planning, then makes room for the next."""
        for path in (self.folder / "instances").rglob("*.dcm"):
            try:
                plan_study([read_header(path)], self.rules)
                self.endings["planned"] += 1
            except InstanceError as error:
                self.endings[f"header: {error.reason}"] += 1
            path.unlink()


def throw_all(folder: Path, seed: int, count: int, warm: int) -> Throwing:
    throwing = Throwing(folder, seed)
    for _ in range(warm):
        throwing.throw()
    before = resident_bytes()
    for _ in range(count - warm):
        throwing.throw()
    growth = resident_bytes() - before
    throwing.committer.stop()
    assert growth < MAX_GROWTH, f"{growth / 1024**2:.0f} MiB"
    assert throwing.slowest < MAX_SECONDS
    assert not list((folder / "incoming").iterdir())
    endings = throwing.endings
    assert endings["planned"] > count / 20  # the mutations leave enough that is taken
    assert endings["unreadable"] > 0
    return throwing


def test_an_element_that_is_cut_in_its_length_is_unreadable(tmp_path):
    body = b"\x08\0\x16\0UN\0\0\xff"
    with pytest.raises(IdentityError, match="unreadable"):
        read_identity(io.BytesIO(body), "1.2.840.10008.1.2.1", 1000)
    (tmp_path / "cut.dcm").write_bytes(body)
    with pytest.raises(InstanceError):
        read_header(tmp_path / "cut.dcm")


def test_some_hundred_mutated_files(tmp_path):
    throw_all(tmp_path, 1, 800, 200)


@pytest.mark.long
def test_tens_of_thousands_of_mutated_files(tmp_path):
    throw_all(tmp_path, 2, 30_000, 2000)
