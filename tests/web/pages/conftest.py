"""A service's folder with a study whose every text is markup, processed by a real worker, and its pages served."""

import threading
import uuid
from types import SimpleNamespace

import pydicom
import pytest

from dicom_pipeline.service.worker import Worker
from tests.peers.page import BrowserLike
from tests.peers.place import Place
from tests.peers.web import context_of, served

MARKUP = {
    "StudyDescription": "<img src=x onerror=boom(1)>",
    "SeriesDescription": "<script>boom(2)</script>",
    "AccessionNumber": '"><b id=x>',
    "StudyDate": "<u>",
    "PatientName": "<h1>Secret^Person</h1>",
    "PatientID": "<h2>Secret-ID",
    "ProtocolName": "<style>*{display:none}</style>",
    "SeriesNumber": "7",
}
SENDER = "<i>CT&1</i>"


def hostile(folder, sample_data, instances=3):
    """Copies of images with markup in their texts, and one that is a localizer; their paths."""
    paths = []
    for number, path in enumerate(sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:instances]):
        dataset = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            for keyword, value in MARKUP.items():
                setattr(dataset, keyword, value)
        if number == instances - 1:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        target = folder / f"{number}.dcm"
        dataset.save_as(target, enforce_file_format=True)
        paths.append(target)
    return paths


def work(place):
    """Process what is ready."""
    stop = threading.Event()

    def progress() -> None:
        if not place.query("SELECT 1 FROM revision WHERE state IN ('ready', 'processing')"):
            stop.set()

    Worker(place.settings, uuid.uuid4().hex, stop, progress=progress).run()


@pytest.fixture(scope="module")
def place(tmp_path_factory, sample_data):
    """Two studies that were processed, the second of hostile texts; its UID is `uid`."""
    folder = tmp_path_factory.mktemp("pages")
    made = Place(folder, sample_data)
    made.uid = made_hostile(made, folder, sample_data)
    work(made)
    yield made
    made.catalog.close()


def made_hostile(place, folder, sample_data) -> str:
    paths = hostile(folder, sample_data)
    study = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID) + ".6"
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = study
        for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, str(dataset[keyword].value) + ".6")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)
    place.receive(paths)
    with place.catalog.transaction() as run:
        run.connection.execute("UPDATE instance SET calling_ae = ? WHERE study_instance_uid = ?", (SENDER, study))
        run.connection.execute("UPDATE sender SET calling_ae = ? WHERE study_instance_uid = ?", (SENDER, study))
    return study


@pytest.fixture
def pages(place):
    """The served pages of the place, with what the audit trail was told."""
    facts = []
    context = context_of(place.settings, place.catalog, facts)
    with served(context) as site:
        yield SimpleNamespace(browser=BrowserLike(site.port), site=site, facts=facts, place=place, context=context)
