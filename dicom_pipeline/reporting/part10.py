"""A data set as bytes: the same bytes in any process, on any day (PS3.10)."""

from __future__ import annotations

import io
import uuid

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

IMPLEMENTATION_CLASS = (
    f"2.25.{uuid.uuid5(uuid.UUID('8b0f9a5e-6a53-5b0e-9a3c-0d6d2c1f7e10'), 'implementation-class').int}"
)
IMPLEMENTATION_VERSION = "DICOM_PIPELINE_1"


def dataset_bytes(dataset: Dataset) -> bytes:
    """The data set alone in Explicit VR Little Endian."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return bytes(stream.getvalue())


def encode(dataset: Dataset) -> bytes:
    """The data set as a Part 10 file in Explicit VR Little Endian."""
    whole = Dataset()
    whole.update(dataset)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    whole.file_meta = meta
    whole.preamble = b"\0" * 128
    stream = io.BytesIO()
    dcmwrite(stream, whole, enforce_file_format=True)
    return stream.getvalue()
