"""What an instance is known by, read from the first elements of its data set; pixels are never touched."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.filereader import data_element_generator
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.dicom.reading import MAX_HEADER_BYTES, InflatedTooLargeError, inflate
from dicom_pipeline.dicom.top_level import top_level_tags
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.dicom.warnings import suppress_warnings

LAST_TAG = 0x0020000E
WANTED = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x00080060: "modality",
    0x0008103E: "series_description",
    0x00100020: "patient_id",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
EQUIPMENT = 0x0018A001
IDENTIFYING = frozenset((*WANTED, EQUIPMENT))
MAX_VALUE_BYTES = 65536
MAX_INFLATED_BYTES = 1024**3


class IdentityError(Exception):
    """Says why there is no identity: unreadable, too-large (inflated), or ambiguous-identity."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The elements that an instance is known by, empty where missing. own: this pipeline made it.

    patient_id: for audit messages, where the settings want it there; it goes nowhere else.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    series_description: str
    patient_id: str
    own: bool

    @property
    def whole(self) -> bool:
        """Whether all three UIDs of the hierarchy are UIDs."""
        return all(map(is_valid_uid, (self.sop_instance_uid, self.study_instance_uid, self.series_instance_uid)))


def read_identity(stream: BinaryIO, transfer_syntax: str, most_inflated: int) -> Identity:
    """The identity of the data set at the stream's position. Raises IdentityError.

    A deflated data set is inflated to its end without being kept, so that what would inflate to more than
    `most_inflated` bytes is refused. Elements stand once and in the order of their tags (PS3.5 7.1): where an attribute of
    identity comes twice or out of order, wherever in the data set, readers see different values, and it is refused as
    ambiguous. Behind the series only tags are looked at: what is damaged there is for the worker to find.
    """
    syntax = UID(transfer_syntax)
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = BytesIO(_inflated_start(stream, most_inflated))
    values = dict.fromkeys(WANTED.values(), "")
    own = False
    last = 0
    try:
        for element in _elements(stream, syntax):
            if element.tag <= last:
                raise IdentityError("ambiguous-identity")
            last = element.tag
            if element.tag == EQUIPMENT:
                own = element.value is not None and _is_own(element)
            elif isinstance(element, RawDataElement):
                values[WANTED[element.tag]] = _text(element.value)
    except UNPARSABLE as error:
        raise IdentityError("unreadable") from error
    if not last:
        raise IdentityError("unreadable")
    rest = top_level_tags(stream, implicit=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    if any(tag in IDENTIFYING for tag in rest):
        raise IdentityError("ambiguous-identity")
    return Identity(own=own, **values)


def is_ambiguous(stream: BinaryIO, *, implicit: bool, little_endian: bool) -> bool:
    """Whether an attribute of identity comes twice or out of order in the data set at the stream's position."""
    tags = [t for t in top_level_tags(stream, implicit=implicit, little_endian=little_endian) if t in IDENTIFYING]
    return tags != sorted(set(tags))


def _elements(stream: BinaryIO, syntax: UID) -> Iterator[RawDataElement | DataElement]:
    """The wanted elements as they stand, up to the series; the stream is then behind that."""
    found = data_element_generator(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=lambda tag, _vr, _length: tag > LAST_TAG,
        defer_size=MAX_VALUE_BYTES,
        specific_tags=[Tag(tag) for tag in IDENTIFYING],
    )
    return (element for element in found if element.tag in IDENTIFYING)


def _text(value: bytes | None) -> str:
    return (value or b"")[:128].rstrip(b"\0 ").decode("ascii", "replace").strip()


def _inflated_start(stream: BinaryIO, most: int) -> bytes:
    """The first bytes of an inflated data set, about MAX_HEADER_BYTES at most; the rest is inflated and counted."""
    start = bytearray()
    try:
        for piece in inflate(stream, most):
            if len(start) < MAX_HEADER_BYTES:
                start += piece
    except InflatedTooLargeError as error:
        raise IdentityError("too-large") from error
    except zlib.error as error:
        raise IdentityError("unreadable") from error
    return bytes(start)


def _is_own(element: RawDataElement | DataElement) -> bool:
    """is_own_object of one element."""
    with suppress_warnings():
        converted = convert_raw_data_element(element) if isinstance(element, RawDataElement) else element
        return is_own_object(Dataset({converted.tag: converted}))
