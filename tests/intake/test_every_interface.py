"""What holds for one interface holds for all: limits, identity, duplicates, own objects, refusals written down."""

import io
import zlib
from contextlib import ExitStack, closing

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset, write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import refusals
from dicom_pipeline.config import Settings
from dicom_pipeline.errors import DeliveryError
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.sources.fetch import fetch_study
from dicom_pipeline.sources.source import ListedInstance, ListedSeries, ListedStudy
from dicom_pipeline.sources.study_filter import StudyFilter
from tests.peers.programs import free_port
from tests.peers.raw import CT, RawSender
from tests.peers.web import context_of, served

UID = "1.2.3.4"
BOUNDARY = "b-o-u-n-d"
STOW = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
MAX_BYTES, MAX_INFLATED = 100_000, 400_000


def image(**changes) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, UID
    made.Modality, made.PatientID = "CT", "P1"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    made.PixelData = bytes(64)
    made["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


def content_of(dataset: Dataset, syntax=ImplicitVRLittleEndian, extra: Dataset | None = None) -> bytes:
    """A data set as it is sent; `extra` elements follow it, whatever their order."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.is_implicit_VR, True
    write_dataset(stream, dataset)
    for element in extra or ():
        write_data_element(stream, element)
    content = stream.getvalue()
    if syntax != DeflatedExplicitVRLittleEndian:
        return content
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def file_of(content: bytes, syntax) -> bytes:
    """A Part 10 file of a data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CT, UID, syntax
    stream = io.BytesIO()
    write_file_meta_info(stream, meta)
    return bytes(128) + b"DICM" + stream.getvalue() + content


class OneFile:
    """A source of one instance."""

    interface, address = "TEST", "here"

    def __init__(self, content: bytes) -> None:
        self.content = content

    def list_studies(self):
        return iter([self.study("k")])

    def count_instances(self) -> int:
        return 1

    def study(self, key: str) -> ListedStudy:
        return ListedStudy(key, "1.2.3", "", "", (ListedSeries("s", "1.2.3.5", "CT", "", 1),))

    def instances(self, study: ListedStudy):
        return [ListedInstance("i", UID + ".new", study.series[0])]

    def read(self, instance: ListedInstance):
        del instance
        yield from (self.content[i : i + 1000] for i in range(0, len(self.content), 1000))


class Interface:
    """A way in over a catalog and a spool of its own."""

    def __init__(self, name: str, folder, stack: ExitStack, min_free_bytes: int) -> None:
        self.name = name
        limits = {"max_object_bytes": MAX_BYTES, "max_inflated_bytes": MAX_INFLATED, "port": free_port()}
        section = {"folder": folder, "min_free_bytes": min_free_bytes}
        self.settings = Settings(listener=limits, spool=section, service={"web_port": 1})
        self.catalog = stack.enter_context(closing(Catalog(folder / "catalog.sqlite")))
        self.spool = Spool(folder)
        if name == "C-STORE":
            listener = ListeningNode(
                self.settings.listener, self.catalog, self.spool, "run", min_free_bytes=min_free_bytes
            )
            listener.start()
            stack.callback(listener.stop)
        elif name in ("REST", "STOW-RS"):
            self.site = stack.enter_context(served(context_of(self.settings, self.catalog)))

    def send(self, content: bytes, syntax=ImplicitVRLittleEndian) -> None:
        """Send one instance; what became of it is in the catalog."""
        if self.name == "C-STORE":
            try:
                sender = RawSender(self.settings.listener.port, syntax=str(syntax))
            except ConnectionError:  # a full disk takes no association that proposes storage
                return
            sender.store(UID, content)
            sender.release()
        elif self.name == "REST":
            self.site.ask("POST", "/instances", file_of(content, syntax))
        elif self.name == "STOW-RS":
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            body = head + file_of(content, syntax) + f"\r\n--{BOUNDARY}--\r\n".encode()
            self.site.ask("POST", "/dicom-web/studies", body, STOW)
        else:
            receiver = Receiver(
                self.catalog,
                self.spool,
                MAX_BYTES,
                self.settings.spool.min_free_bytes,
                max_inflated_bytes=MAX_INFLATED,
            )
            try:
                fetch_study(OneFile(file_of(content, syntax)), self.catalog, receiver, "k", StudyFilter())
            except DeliveryError:  # a full disk ends a run
                return

    @property
    def stored(self) -> list[bool]:
        """Of each instance in the catalog, whether it is the primary one under its UID."""
        rows = self.catalog.read("held_instances", study_instance_uid="1.2.3")
        return [bool(row["is_primary"]) for row in rows]

    @property
    def refusals(self) -> dict[str, int]:
        return refusals(self.catalog)

    @property
    def files(self) -> int:
        return sum(
            path.is_file() for part in ("instances", "incoming") for path in (self.spool.folder / part).rglob("*")
        )


@pytest.fixture(params=["C-STORE", "REST", "STOW-RS", "fetch"])
def interface(request, tmp_path):
    free = getattr(request.node.function, "min_free_bytes", 0)
    with ExitStack() as stack:
        yield Interface(request.param, tmp_path / "data", stack, free)


def test_an_instance_is_stored_once_however_often_it_comes(interface):
    for _ in range(3):
        interface.send(content_of(image()))
    assert (interface.stored, interface.refusals, interface.files) == ([True], {}, 1)


def test_other_content_under_a_known_uid_is_quarantined(interface):
    interface.send(content_of(image()))
    interface.send(content_of(image(PatientID="P2")))
    assert (interface.stored, interface.refusals, interface.files) == ([True, False], {}, 2)


def test_what_this_pipeline_made_is_never_stored(interface):
    equipment = Dataset()
    equipment.Manufacturer = equipment.ManufacturerModelName = "dicom_pipeline"
    interface.send(content_of(image(ContributingEquipmentSequence=[equipment])))
    assert (interface.stored, interface.refusals, interface.files) == ([], {"own-object": 1}, 0)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_an_identity_that_comes_twice_is_refused(interface, keyword):
    again = Dataset()
    setattr(again, keyword, "1.2.999")
    interface.send(content_of(image(), extra=again))
    assert (interface.stored, interface.refusals, interface.files) == ([], {"ambiguous-identity": 1}, 0)


def test_an_instance_without_a_uid_is_refused(interface):
    dataset = image()
    del dataset.StudyInstanceUID
    interface.send(content_of(dataset))
    assert (interface.stored, interface.refusals, interface.files) == ([], {"missing-uid": 1}, 0)


def test_what_is_no_data_set_is_refused(interface):
    interface.send(b"\xff" * 1000)
    assert (interface.stored, interface.refusals, interface.files) == ([], {"unreadable": 1}, 0)


def test_the_largest_instance_is_counted_as_it_comes(interface):
    interface.send(content_of(image(PixelData=bytes(MAX_BYTES))))
    assert (interface.stored, interface.refusals, interface.files) == ([], {"too-large": 1}, 0)


def test_a_deflated_instance_is_counted_as_it_inflates(interface):
    small = content_of(image(PixelData=bytes(MAX_INFLATED // 2)), DeflatedExplicitVRLittleEndian)
    interface.send(small, DeflatedExplicitVRLittleEndian)
    assert (interface.stored, interface.refusals) == ([True], {})
    large = content_of(image(PixelData=bytes(2 * MAX_INFLATED), PatientID="P2"), DeflatedExplicitVRLittleEndian)
    assert len(large) < MAX_BYTES
    interface.send(large, DeflatedExplicitVRLittleEndian)
    assert (interface.stored, interface.refusals, interface.files) == ([True], {"too-large": 1}, 1)


def test_a_disk_below_its_watermark_takes_nothing(interface):
    interface.send(content_of(image()))
    assert (interface.stored, interface.files) == ([], 0)
    assert sum(interface.refusals.values()) == 1


test_a_disk_below_its_watermark_takes_nothing.min_free_bytes = 2**60
