"""Stored values and what stands beside them: byte order, unused bits, padding written with the other sign, thresholds."""

import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.frames import decode
from dicom_pipeline.imaging.voi import padding_range
from tests.imaging.made import bars, frame, instance, rendered_bars, stored, write

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("dtype", "bits", "high"), [(np.uint16, 12, 11), (np.int16, 12, 11), (np.uint16, 10, 12), (np.uint32, 20, 19)]
)
def test_values_are_the_same_in_each_byte_order(syntax, dtype, bits, high, tmp_path):
    signed = np.dtype(dtype).kind == "i"
    lowest = -(1 << (bits - 1)) if signed else 0
    values = np.linspace(lowest, lowest + (1 << bits) - 1, 64).astype(dtype).reshape(8, 8)
    shift = high + 1 - bits
    written = (values << shift).astype(dtype)
    dataset = instance(written, BitsStored=bits, HighBit=high)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = written.astype(written.dtype.newbyteorder(">")).tobytes()
    read = stored(write(dataset, tmp_path, syntax))
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("dtype", "bits", "vr", "written", "expected"),
    [
        (np.int16, 16, "US", 63536, -2000),
        (np.int16, 16, "SS", -2000, -2000),
        (np.uint16, 16, "SS", -32768, 32768),
        (np.uint16, 16, "US", 4095, 4095),
        (np.int16, 12, "US", 63536, -2000),
        (np.uint16, 12, "US", 63536, 63536 & 4095),
        (np.uint8, 8, "US", 255, 255),
        (np.int8, 8, "US", 128, -128),
    ],
)
def test_padding_is_read_in_the_sign_of_the_pixels(dtype, bits, vr, written, expected, tmp_path):
    dataset = instance(np.zeros((8, 8), dtype), BitsStored=bits, HighBit=bits - 1)
    dataset.add(DataElement(0x00280120, vr, written))
    assert padding_range(decode(frame(write(dataset, tmp_path)))) == (expected, expected)


def test_padding_of_the_other_sign_leaves_the_contrast_alone(tmp_path):
    values = np.full((64, 64), -2000, np.int16)
    values[16:48, 16:48] = np.arange(1024).reshape(32, 32)
    dataset = instance(values, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    dataset.add(DataElement(0x00280120, "US", 63536))
    path = write(dataset, tmp_path)
    pixels = SeriesRenderer(load_preset("mr-percentile"), [frame(path)]).render(frame(path)).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[120:330, 120:330].min() < 10  # the darkest tissue is dark
    assert pixels.max() > 245


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_window_one_wide_is_a_threshold(syntax, tmp_path):
    dataset = instance(bars([90, 99, 100, 101]), WindowCenter=100, WindowWidth=1)
    assert [bar[0] for bar in rendered_bars(write(dataset, tmp_path, syntax), 4)] == [0, 0, 255, 255]
    dataset.VOILUTFunction = "LINEAR_EXACT"
    assert [bar[0] for bar in rendered_bars(write(dataset, tmp_path, syntax), 4)] == [0, 0, 128, 255]
