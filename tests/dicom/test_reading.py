"""One way to read a file: whatever its meta information lacks, planning and decoding see the same data set."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.dicom.reading import MAX_HEADER_BYTES, InflatedTooLargeError, read_file
from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason
from dicom_pipeline.imaging.decoding.frames import decode
from dicom_pipeline.imaging.decoding.limits import Limits
from dicom_pipeline.planning.headers import read_header
from tests.dicom.made import SOURCE, data_set, deflated


def meta(syntax, length=True):
    """Preamble and file meta information; without a syntax, or without the group's length, where so told."""
    information = pydicom.filereader.read_file_meta_info(SOURCE)
    del information.TransferSyntaxUID
    if syntax:
        information.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    write_file_meta_info(stream, information, enforce_standard=bool(length and syntax))
    if not length:
        information.pop("FileMetaInformationGroupLength", None)
        stream = io.BytesIO()
        write_file_meta_info(stream, information, enforce_standard=False)
    return b"\0" * 128 + b"DICM" + stream.getvalue()


FILES = {
    "whole": meta(ExplicitVRLittleEndian) + data_set(ExplicitVRLittleEndian),
    "no meta, implicit": data_set(ImplicitVRLittleEndian),
    "no meta, explicit": data_set(ExplicitVRLittleEndian),
    "no syntax, implicit": meta("") + data_set(ImplicitVRLittleEndian),
    "no syntax, explicit": meta("") + data_set(ExplicitVRLittleEndian),
    "labelled implicit, is explicit": meta(ImplicitVRLittleEndian) + data_set(ExplicitVRLittleEndian),
    "labelled explicit, is implicit": meta(ExplicitVRLittleEndian) + data_set(ImplicitVRLittleEndian),
    "deflated": meta(DeflatedExplicitVRLittleEndian) + data_set(DeflatedExplicitVRLittleEndian),
    "deflated, no group length": meta(DeflatedExplicitVRLittleEndian, length=False)
    + deflated(data_set(ExplicitVRLittleEndian)),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_planned_can_be_decoded(name, tmp_path):
    path = tmp_path / "file.dcm"
    path.write_bytes(FILES[name])
    header = read_header(path)
    assert header.sop_instance_uid == pydicom.dcmread(SOURCE).SOPInstanceUID
    values = decode(Frame(FrameKey(header.sop_instance_uid), path, header.series_instance_uid)).values
    np.testing.assert_array_equal(values, pydicom.dcmread(SOURCE).pixel_array)


def test_a_bomb_is_refused_before_it_is_kept(tmp_path):
    path = tmp_path / "bomb.dcm"
    path.write_bytes(
        meta(DeflatedExplicitVRLittleEndian) + deflated(data_set(ExplicitVRLittleEndian) + b"\0" * 50_000_000)
    )
    with pytest.raises(InflatedTooLargeError):
        read_file(path, 10_000_000).open()
    with pytest.raises(InstanceError) as caught:
        decode(Frame(FrameKey("1"), path, "1"), Limits(max_inflated_bytes=10_000_000))
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_header_that_inflates_beyond_its_limit_is_refused_by_planning(tmp_path):
    """A private value of zeros before the pixel data; the planner, which every study needs, takes no more than the limit."""
    path = tmp_path / "bomb.dcm"
    element = pydicom.DataElement(0x00091001, "OB", b"\0" * (MAX_HEADER_BYTES + 1000))
    content = data_set(ExplicitVRLittleEndian, extra=[element], at=0x00100000)
    path.write_bytes(meta(DeflatedExplicitVRLittleEndian) + deflated(content))
    with pytest.raises(InstanceError) as caught:
        read_header(path)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("cut", [200, 400, 700])
def test_deflated_data_that_are_damaged_have_a_reason(cut, tmp_path):
    path = tmp_path / "damaged.dcm"
    whole = FILES["deflated, no group length"]
    path.write_bytes(whole[:cut] + b"\xff" * 40 + whole[cut + 40 :])
    with pytest.raises(InstanceError) as caught:
        decode(Frame(FrameKey("1"), path, "1"))
    assert caught.value.reason in set(Reason)
