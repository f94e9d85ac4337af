"""A code stream that is larger than its data set says is refused before any decoder sees it."""

import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.decoding.code_streams import StreamSize, check_code_stream, stream_sizes
from dicom_pipeline.imaging.decoding.frames import decode
from tests.imaging.made import frame, instance, write


def jpeg2000(width, height, components=1, tile=None):
    """A code stream without a pixel: SOC, SIZ, and a tile of zeros."""
    tile_width, tile_height = tile or (width, height)
    siz = struct.pack(">H8IH", 0, width, height, 0, 0, tile_width, tile_height, 0, 0, components)
    siz += bytes([7, 1, 1]) * components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(siz) + 2) + siz + b"\xff\x90" + bytes(900)


def jpeg(marker, width, height, components=1, precision=8):
    sof = struct.pack(">BHHB", precision, height, width, components) + b"\1\x11\0" * components
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(sof) + 2) + sof + b"\xff\xda\0\2" + bytes(60)


def extended_jpeg_ls(width, height):
    lse = bytes([4, 4]) + struct.pack(">LL", height, width)
    return b"\xff\xd8\xff\xf8" + struct.pack(">H", len(lse) + 2) + lse + jpeg(0xF7, 0, 0)[2:]


def jp2(stream):
    return b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x10ftypjp2 \0\0\0\0" + b"\0\0\0\0jp2c" + stream


def rle(segments):
    return struct.pack("<16L", segments, 64, *[66] * 14) + b"\xc1\0" * 32


BOMBS = {
    "jpeg-2000": (JPEG2000Lossless, jpeg2000(60_000, 60_000)),
    "jp2": (JPEG2000Lossless, jp2(jpeg2000(60_000, 60_000))),
    "htj2k": (HTJ2KLossless, jpeg2000(60_000, 60_000)),
    "components": (JPEG2000Lossless, jpeg2000(64, 64, components=16_000)),
    "jpeg": (JPEGBaseline8Bit, jpeg(0xC0, 65_535, 65_535)),
    "jpeg-progressive": (JPEGBaseline8Bit, jpeg(0xC2, 65_535, 65_535)),
    "jpeg-lossless": (JPEGLosslessSV1, jpeg(0xC3, 65_535, 65_535)),
    "precision": (JPEGLosslessSV1, jpeg(0xC3, 64, 64, precision=16)),
    "jpeg-ls": (JPEGLSLossless, jpeg(0xF7, 65_535, 65_535)),
    "jpeg-ls-extended": (JPEGLSLossless, extended_jpeg_ls(100_000, 100_000)),
    "rle": (RLELossless, rle(15)),
    "rle-long": (RLELossless, struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 600_000),
}


def outcome(stream, syntax, dataset):
    """The reason that the check gives, None without."""
    try:
        check_code_stream(stream, syntax, dataset)
    except InstanceError as error:
        return error.reason
    return None


def refusal(stream, syntax, folder):
    dataset = instance(np.zeros((64, 64), np.uint8))
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    with pytest.raises(InstanceError) as error:
        decode(frame(write(dataset, folder, syntax)))
    return error.value.reason


@pytest.mark.parametrize("name", BOMBS)
def test_a_stream_larger_than_its_data_set_is_refused(name, tmp_path):
    syntax, stream = BOMBS[name]
    assert refusal(stream, syntax, tmp_path) is Reason.LARGER_THAN_DECLARED


def test_an_absurd_number_of_tiles_is_refused(tmp_path):
    assert refusal(jpeg2000(64, 64, tile=(1, 1)), JPEG2000Lossless, tmp_path) is Reason.TOO_LARGE


def test_fill_bytes_and_other_segments_come_before_the_size():
    stream = jpeg(0xC1, 30, 20, 3, 12)
    assert list(stream_sizes(stream[:2] + b"\xff\xfe\0\4ab\xff\xff" + stream[2:])) == [StreamSize(30, 20, 3, 12)]


DAMAGED = "JPEG2000-embedded-sequence-delimiter.dcm"
"""Its SIZ was overwritten with a sequence delimiter: 3,722,445,056 columns."""


def compressed(folder):
    """The files of a folder with encapsulated pixel data that can be read, as data sets."""
    for path in sorted(folder.rglob("*.dcm")):
        if path.name == DAMAGED:
            continue
        try:
            dataset = dcmread(path)
            encapsulated = dataset.file_meta.TransferSyntaxUID.is_encapsulated
        except (InvalidDicomError, AttributeError):
            continue
        if encapsulated and "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
            yield dataset


def first_frames(dataset):
    frames = generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    return islice(frames, 5)


@pytest.mark.filterwarnings("ignore:::pydicom")
def test_real_streams_are_as_large_as_declared():
    seen = set()
    for dataset in compressed(Path(get_testdata_file("CT_small.dcm")).parent):
        syntax = dataset.file_meta.TransferSyntaxUID
        for data in first_frames(dataset):
            check_code_stream(data, syntax, dataset)
            if syntax != RLELossless:
                assert [(size.height, size.width) for size in stream_sizes(data)] == [(dataset.Rows, dataset.Columns)]
            seen.add(syntax)
    assert {JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless} <= seen


@given(
    st.sampled_from(sorted(BOMBS)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=8),
    st.binary(),
)
def test_odd_bytes_end_in_a_reason_or_nothing(name, changes, tail):
    syntax, stream = BOMBS[name]
    mutated = bytearray(stream[:200] + tail)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    dataset = instance(np.zeros((64, 64), np.uint8))
    for data in (bytes(mutated), tail, stream[: len(tail)]):
        reason = outcome(data, syntax, dataset)
        assert reason in {None, Reason.LARGER_THAN_DECLARED, Reason.TOO_LARGE}
