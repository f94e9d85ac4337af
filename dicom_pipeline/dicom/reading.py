"""The one way to read a received file: with or without preamble, file meta information or Transfer Syntax UID.

Planning and decoding read through here, so that what is planned can be decoded. Source: PS3.10 section 7 (file format),
PS3.5 annex A.5 (deflated).
"""

from __future__ import annotations

import functools
import io
import zlib
from collections.abc import Iterator
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

from dicom_pipeline.dicom.warnings import suppress_warnings

PREAMBLE = 132
TRANSFER_SYNTAX = 0x00020010
INFLATE_STEP = 256 * 1024
MAX_INFLATED_BYTES = 4 * 1024**3
MAX_HEADER_BYTES = 64 * 1024**2
"""As much of a deflated data set is inflated to read its header."""


class InflatedTooLargeError(Exception):
    """A deflated data set is larger than the limit once inflated."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file up to its pixel data.

    dataset: every element before the pixel data. syntax: the transfer syntax that the file states, else the one that its
    bytes show. pixel_data: position of the pixel data element in what `open` gives. deflated_at: where the deflated data set
    of the file begins, None where it is not deflated; what is inflated is kept until another file is.
    """

    path: Path
    dataset: Dataset
    syntax: UID
    pixel_data: int
    data_set: int
    deflated_at: int | None = None
    max_inflated_bytes: int = MAX_INFLATED_BYTES

    def open(self) -> BinaryIO:
        """A stream in which `pixel_data` is a position. Raises OSError; of a deflated file also as `inflate`."""
        if self.deflated_at is None:
            return self.path.open("rb")
        return io.BytesIO(_inflated(self.path, self.path.stat().st_mtime_ns, self.deflated_at, self.max_inflated_bytes))

    def open_header(self) -> BinaryIO:
        """A stream of the data set as far as its header goes, at least. Raises as `open`."""
        return self.path.open("rb") if self.deflated_at is None else _start(self.path, self.deflated_at)


def read_file(path: Path, max_inflated_bytes: int = MAX_INFLATED_BYTES) -> ReadFile:
    """Everything before the pixel data of a file. What is no DICOM file may give an empty data set.

    max_inflated_bytes: applied where `open` inflates a deflated data set; the header takes no more than MAX_HEADER_BYTES.
    Raises what `dicom.attributes.UNPARSABLE` lists, and InflatedTooLargeError.
    """
    with path.open("rb") as stream, suppress_warnings():
        stated, start = read_file_meta(stream)
        if stated == DeflatedExplicitVRLittleEndian:
            inner = _start(path, start)
            dataset = dcmread(inner, stop_before_pixels=True, force=True)
            if inner.tell() >= MAX_HEADER_BYTES:
                raise InflatedTooLargeError(f"the header inflates to more than {MAX_HEADER_BYTES} bytes")
            return ReadFile(path, dataset, UID(stated), inner.tell(), 0, start, max_inflated_bytes)
        stream.seek(0)
        dataset = dcmread(stream, stop_before_pixels=True, force=True)
        return ReadFile(path, dataset, UID(stated) if stated else _shown(dataset), stream.tell(), start)


def read_file_meta(stream: BinaryIO) -> tuple[str, int]:
    """The Transfer Syntax UID of a file's meta information, empty without, and where the data set begins.

    The stream is at its start. The group is walked to its end: its length (0002,0000) may be missing or wrong.
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


def inflate(stream: BinaryIO, most: int) -> Iterator[bytes]:
    """A deflated data set (PS3.5 A.5) from the stream's position, in small pieces: a bomb is known before it takes memory.

    Raises InflatedTooLargeError beyond `most` bytes, zlib.error for what is not deflated.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total, pending = 0, stream.read(INFLATE_STEP)
    while pending and not inflater.eof:
        piece = inflater.decompress(pending, INFLATE_STEP)
        total += len(piece)
        if total > most:
            raise InflatedTooLargeError(f"inflates to more than {most} bytes")
        yield piece
        pending = inflater.unconsumed_tail or stream.read(INFLATE_STEP)


@functools.lru_cache(maxsize=1)
def _inflated(path: Path, changed: int, start: int, most: int) -> bytes:
    """The whole data set; the last one is kept, as its frames come one after another. changed: time of the file's change."""
    del changed
    with path.open("rb") as stream:
        stream.seek(start)
        return b"".join(inflate(stream, most))


def _start(path: Path, start: int) -> io.BytesIO:
    """The first MAX_HEADER_BYTES of a deflated data set."""
    found = bytearray()
    with path.open("rb") as stream:
        stream.seek(start)
        for piece in inflate(stream, MAX_INFLATED_BYTES):
            found += piece
            if len(found) >= MAX_HEADER_BYTES:
                break
    return io.BytesIO(found[:MAX_HEADER_BYTES])


def _shown(dataset: Dataset) -> UID:
    """The uncompressed transfer syntax in which a data set without one was found to be written."""
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
