"""A header that was read where a study was planned renders the same frame, and holds all that rendering looks at."""

import ast
import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.datadict import keyword_dict, tag_for_keyword

import dicom_pipeline.imaging
from dicom_pipeline.dicom.reading import read_file
from dicom_pipeline.domain import Frame, FrameKey, InstanceError
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.packed import IMAGE_GROUP, SEQUENCE_TAGS, TAGS, PackedFile
from tests.imaging.made import instance, write

IMAGES = Path(dicom_pipeline.imaging.__file__).parent
PRESETS = ("own-window", "mr-percentile", "serving-parity", "colour")

READ_WHERE_IT_IS_KNOWN = {"NumberOfFrames"}
"""A packed file has one frame."""


def rendered(path: Path, preset: str, packed: PackedFile | None):
    try:
        return SeriesRenderer(load_preset(preset)).render(Frame(FrameKey("1"), path, "1"), packed).pixels
    except InstanceError as error:
        return error.reason, error.detail


def test_files_of_all_kinds_render_the_same_from_a_packed_header():
    compared = 0
    for path in sorted(Path(get_testdata_file("CT_small.dcm")).parent.glob("*.dcm")):
        try:
            packed = PackedFile.of(read_file(path))
        except (pydicom.errors.InvalidDicomError, OSError, EOFError, ValueError, KeyError):
            continue
        if packed is None:
            continue
        for preset in PRESETS:
            whole, from_packed = (rendered(path, preset, p) for p in (None, pickle.loads(pickle.dumps(packed))))
            assert np.array_equal(whole, from_packed) if isinstance(whole, np.ndarray) else whole == from_packed, (
                path.name
            )
            compared += isinstance(whole, np.ndarray)
    assert compared > 100


def test_every_attribute_that_rendering_names_is_packed():
    """Also those that someone adds to a room's code tomorrow."""
    named = {
        node.value
        for path in IMAGES.rglob("*.py")
        if path.stem != "packed"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value and node.value in keyword_dict
    }
    assert len(named) > 20
    for keyword in named - READ_WHERE_IT_IS_KNOWN:
        tag = tag_for_keyword(keyword)
        is_pixel_data = tag >> 16 == 0x7FE0 and "PixelData" in keyword
        assert tag >> 16 == IMAGE_GROUP or tag in TAGS | SEQUENCE_TAGS or is_pixel_data, keyword


@pytest.mark.parametrize(
    "values",
    [
        {"NumberOfFrames": 2},
        {"VOILUTSequence": [pydicom.Dataset()]},
        {"PerFrameFunctionalGroupsSequence": [pydicom.Dataset()]},
    ],
)
def test_what_does_not_pack_is_read_where_it_is_rendered(values, tmp_path):
    path = write(instance(np.zeros((8, 8), np.uint16), **values), tmp_path)
    assert PackedFile.of(read_file(path)) is None


def test_a_packed_file_that_is_gone_is_that_frames_failure(tmp_path):
    path = write(instance(np.zeros((8, 8), np.uint16)), tmp_path)
    packed = PackedFile.of(read_file(path))
    path.unlink()
    assert rendered(path, "own-window", packed)[0] == "unreadable"
