"""Mosaics: their grid, where their slices lie, and what is read of CSA headers, damaged ones included."""

import re
import struct

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.dicom.csa import csa_elements
from dicom_pipeline.dicom.mosaics import mark_as_mosaic, slice_points, tiles_of


def mosaic(count=36, rows=384, columns=384, **values):
    dataset = pydicom.Dataset()
    dataset.ImageType, dataset.Rows, dataset.Columns = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], rows, columns
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-100.0, -90.0, 10.0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SpacingBetweenSlices = [2.0, 1.0], 3.0
    if count:
        dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def csa(**elements):
    """A CSA header of the second form."""
    made = b"SV10\4\3\2\1" + struct.pack("<II", len(elements), 77)
    for name, values in elements.items():
        made += struct.pack("<64si4siii", name.encode(), 1, b"FD", 0, len(values), 77)
        for value in values:
            raw = value.encode() + b"\0"
            made += struct.pack("<4i", len(raw), len(raw), 77, len(raw)) + raw + b"\0" * (-len(raw) % 4)
    return made


def with_csa(dataset, **elements):
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa(**elements))
    return dataset


@given(st.integers(2, 200), st.integers(1, 20), st.integers(1, 20))
def test_slices_lie_in_the_image_and_not_over_one_another(count, rows, columns):
    side = int(np.ceil(np.sqrt(count)))
    tiles = tiles_of(mosaic(count, rows * side, columns * side))
    seen = np.zeros((rows * side, columns * side), int)
    for number in range(1, count + 1):
        seen[tiles.area(number)] += 1
        assert seen[tiles.area(number)].shape == (rows, columns)
    assert seen.sum() == count * rows * columns
    assert seen.max() == 1


@pytest.mark.parametrize(
    "dataset",
    [
        mosaic(count=0),
        mosaic(count=1),
        mosaic(count=65535),
        mosaic(rows=385),
        mosaic(NumberOfFrames=36),
        mosaic(ImageType=["ORIGINAL", "PRIMARY", "M"]),
        mosaic(count=36, rows=5, columns=5),
    ],
)
def test_what_makes_no_grid_is_no_mosaic(dataset):
    assert tiles_of(dataset) is None


def test_the_number_of_slices_is_found_in_bytes_and_in_the_csa_header():
    untyped = mosaic(count=0)
    untyped.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "UN", b"\x24\x00")
    assert tiles_of(untyped).count == 36
    assert tiles_of(with_csa(mosaic(count=0), NumberOfImagesInMosaic=["36"])).count == 36


def test_a_copy_that_is_marked_has_the_same_grid():
    copied = pydicom.Dataset()
    copied.Rows = copied.Columns = 384
    mark_as_mosaic(copied, tiles_of(mosaic()))
    assert tiles_of(copied) == tiles_of(mosaic())


def test_slices_follow_the_stated_normal_from_the_corner_of_the_first():
    """The grid's plane is 384 columns of 1 mm and 384 rows of 2 mm about the centre of a slice of 64 x 64."""
    dataset = mosaic()
    points = slice_points(dataset, tiles_of(dataset))
    assert points[0] == (-100 + 160 * 1, -90 + 160 * 2, 10)
    assert points[35] == (60, 230, 10 + 35 * 3)
    down = slice_points(with_csa(dataset, SliceNormalVector=["0.0", "0.0", "-1.0"]), tiles_of(dataset))
    assert (down[0], down[35]) == (points[0], (60, 230, 10 - 35 * 3))


@pytest.mark.parametrize(
    "missing", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"]
)
def test_without_its_geometry_slices_have_no_place(missing):
    dataset = mosaic()
    delattr(dataset, missing)
    assert slice_points(dataset, tiles_of(dataset)) == []
    if missing == "SpacingBetweenSlices":
        dataset.SliceThickness = "3"
        assert len(slice_points(dataset, tiles_of(dataset))) == 36


@pytest.mark.parametrize("series", ["mr_0003", "mr_0004"])
def test_real_mosaics_lie_where_their_protocol_put_the_slices(corpus, series):
    for path in sorted((corpus / "mr_siemens_mosaic" / series).glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        tiles = tiles_of(dataset)
        protocol = csa_elements(dataset.get_private_item(0x0029, 0x20, "SIEMENS CSA HEADER").value)[
            "MrPhoenixProtocol"
        ][0]
        centres = re.findall(r"sSliceArray\.asSlice\[\d+\]\.sPosition\.dTra\s*=\s*(\S+)", protocol)
        assert [point[2] for point in slice_points(dataset, tiles)] == pytest.approx([float(z) for z in centres])
        half = tiles.columns / 2 * float(dataset.PixelSpacing[1])
        assert slice_points(dataset, tiles)[0][:2] == pytest.approx(
            (-half, -half)
        )  # the field is about the magnet's centre


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(raw):
    for content in (raw, b"SV10\4\3\2\1" + raw):
        elements = csa_elements(content)
        assert all(isinstance(text, str) for texts in elements.values() for text in texts)


@given(st.data())
def test_a_header_that_is_cut_or_damaged_gives_what_can_be_read(data):
    whole = csa(NumberOfImagesInMosaic=["36", ""], SliceNormalVector=["0.0", "0.5", "1.0"])
    assert csa_elements(whole) == {"NumberOfImagesInMosaic": ["36"], "SliceNormalVector": ["0.0", "0.5", "1.0"]}
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    csa_elements(bytes(damaged))
