"""The one way to read a received file: with or without preamble, file meta information or Transfer Syntax UID.

Planning and decoding read through here, so that what is planned can be decoded. Source: PS3.10 section 7 (file format),
PS3.5 annex A.5 (deflated).
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.filereader import data_element_generator
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_pipeline.dicom.warnings import quiet

PREAMBLE = 132
TRANSFER_SYNTAX = 0x00020010
INFLATE_STEP = 1 << 20
MAX_INFLATED_BYTES = 4 * 1024**3


class InflatedTooLargeError(Exception):
    """A deflated data set is larger than the limit once inflated."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file up to its pixel data.

    dataset: every element before the pixel data. syntax: the transfer syntax that the file states, else the one that its
    bytes show. pixel_data: position of the pixel data element in `body`. body: the inflated data set of a deflated file,
    None where positions count in the file itself.
    """

    path: Path
    dataset: Dataset
    syntax: UID
    pixel_data: int
    body: bytes | None = None

    def open(self) -> BinaryIO:
        """A stream in which `pixel_data` is a position."""
        return io.BytesIO(self.body) if self.body is not None else self.path.open("rb")


def read_file(path: Path, max_inflated_bytes: int = MAX_INFLATED_BYTES) -> ReadFile:
    """Everything before the pixel data of a file. What is no DICOM file may give an empty data set.

    Raises what `dicom.attributes.UNPARSABLE` lists, and InflatedTooLargeError.
    """
    with path.open("rb") as stream, quiet():
        stated, start = _file_meta(stream)
        if stated == DeflatedExplicitVRLittleEndian:
            body = _inflated(stream, start, max_inflated_bytes)
            inner = io.BytesIO(body)
            dataset = dcmread(inner, stop_before_pixels=True, force=True)
            return ReadFile(path, dataset, UID(stated), inner.tell(), body)
        stream.seek(0)
        dataset = dcmread(stream, stop_before_pixels=True, force=True)
        return ReadFile(path, dataset, UID(stated) if stated else _shown(dataset), stream.tell())


def _file_meta(stream: BinaryIO) -> tuple[str, int]:
    """The Transfer Syntax UID of the file meta information, empty without, and where the data set begins.

    The group is walked to its end: its length (0002,0000) may be missing or wrong.
    """
    head = stream.read(PREAMBLE)
    start = PREAMBLE if head[128:] == b"DICM" else 0
    stream.seek(start)
    syntax = ""
    elements = data_element_generator(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2
    )
    for element in elements:
        start = stream.tell()
        if element.tag == TRANSFER_SYNTAX and isinstance(element.value, bytes):
            syntax = element.value.decode("ascii", "replace").strip("\0 ")
    return syntax, start


def _inflated(stream: BinaryIO, start: int, most: int) -> bytes:
    """The inflated data set, in small pieces so that a bomb is known before its memory is taken."""
    stream.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body, pending = bytearray(), stream.read(INFLATE_STEP)
    while pending and not inflater.eof:
        body += inflater.decompress(pending, INFLATE_STEP)
        if len(body) > most:
            raise InflatedTooLargeError(f"inflates to more than {most} bytes")
        pending = inflater.unconsumed_tail or stream.read(INFLATE_STEP)
    return bytes(body)


def _shown(dataset: Dataset) -> UID:
    """The uncompressed transfer syntax in which a data set without one was found to be written."""
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
