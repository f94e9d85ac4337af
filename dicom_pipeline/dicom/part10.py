"""A data set as bytes: the same bytes in any process, on any day (PS3.10), under the UID that its content names."""

from __future__ import annotations

import copy
import hashlib
import io

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.charset import convert_encodings
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, uid_of

SOP_INSTANCE_UID = 0x00080018


def named(dataset: Dataset) -> Dataset:
    """The data set under a SOP Instance UID that is named by all its bytes, so content under a UID cannot change.

    What is returned was read from those bytes: its sequences are parsed when they are looked at, and `encode` of what
    nobody looked into writes them as they are. The argument is not changed.
    """
    before, after = _bytes(dataset[:SOP_INSTANCE_UID], dataset), _bytes(dataset[SOP_INSTANCE_UID + 1 :], dataset)
    own = Dataset()
    own.SOPInstanceUID = uid_of("sop-instance", hashlib.sha256(before + after).hexdigest())
    body = before + _bytes(own, dataset) + after
    blank = Dataset()
    blank.file_meta = _file_meta(dataset.SOPClassUID, own.SOPInstanceUID)
    return dcmread(io.BytesIO(_file(blank) + body))


def encode(dataset: Dataset) -> bytes:
    """The data set as a Part 10 file in Explicit VR Little Endian."""
    whole = copy.copy(dataset)
    whole.file_meta = _file_meta(dataset.SOPClassUID, dataset.SOPInstanceUID)
    return _file(whole)


def _file(dataset: Dataset) -> bytes:
    dataset.preamble = b"\0" * 128
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _file_meta(sop_class_uid: str, sop_instance_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _bytes(part: Dataset, whole: Dataset) -> bytes:
    """Some elements of a data set alone, with its character set, in Explicit VR Little Endian."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, part, convert_encodings(whole.get("SpecificCharacterSet", "ISO_IR 6")))
    return bytes(stream.getvalue())
