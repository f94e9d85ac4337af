"""Attributes of received data sets: what stands there, or nothing; functional groups as planning and rendering see them."""

import pydicom
import pytest
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import (
    first_number,
    integer_of,
    items_of,
    nested_items,
    read_value,
    texts_of,
)
from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging.decoding.frames import decode
from dicom_pipeline.planning import read_header
from dicom_pipeline.planning.geometry import groups_of, locate_frames
from tests.reporting.damaged import damaged, plain_image, tag_of, write


def made(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_the_first_item_of_each_sequence_is_found():
    groups = made(
        PlanePositionSequence=[made(ImagePositionPatient=[1, 2, 3])],
        PixelMeasuresSequence=[made(SliceThickness=2), made(SliceThickness=9)],
        FrameContentSequence=[],
        Modality="MR",
    )
    assert [read_value(item, "SliceThickness") for item in nested_items(groups)] == [None, 2]
    assert texts_of(nested_items(groups)[0], "ImagePositionPatient") == ["1.0", "2.0", "3.0"]


def test_what_is_no_sequence_has_no_items():
    assert items_of(made(StudyDescription="x"), "StudyDescription") == ()
    assert items_of(Dataset(), "PlanePositionSequence") == ()
    assert nested_items(made(StudyDescription="x")) == ()


@pytest.mark.parametrize(("value", "number"), [("12", 12), ("1.5", None), ("x", None), (["3", "4"], 3), ("", None)])
def test_integers(value, number):
    dataset = Dataset()
    dataset.add_new(0x00280008, "LO", value)
    assert integer_of(dataset, "NumberOfFrames") == number
    assert first_number(None) is None


@pytest.fixture
def enhanced(tmp_path):
    """An enhanced CT of three frames that lie apart, with a slope that only its shared groups tell."""
    outside = ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept")
    elements = damaged(plain_image("ECT", 1), {tag_of(keyword): None for keyword in outside})
    path = write(tmp_path, "enhanced.dcm", elements)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames, dataset.PixelData = 3, 3 * dataset.PixelData
    shared = made(
        PlaneOrientationSequence=[made(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelValueTransformationSequence=[made(RescaleSlope="2.5", RescaleIntercept="-7")],
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        made(PlanePositionSequence=[made(ImagePositionPatient=[0, 0, 3.0 * number])]) for number in range(3)
    ]
    dataset.save_as(path)
    return path


def test_functional_groups_give_each_frame_its_place_and_its_rescale(enhanced):
    header = read_header(enhanced)
    assert [frame.position for group in groups_of(locate_frames(header)) for frame in group] == [0.0, 3.0, 6.0]
    frame = Frame(FrameKey(header.sop_instance_uid, 2), enhanced, header.series_instance_uid)
    stored = decode(frame)
    assert (float(stored.find("RescaleSlope")), float(stored.find("RescaleIntercept"))) == (2.5, -7.0)
