"""`serving-parity` against the container's rules, written down here a second time, and the Hugging Face processor."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from dicom_pipeline.domain import InstanceError
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from tests.imaging.made import frame, instance, write

SHAPES = [(64, 64), (61, 40), (40, 97), (1, 30)]


def rendered(path):
    return SeriesRenderer(load_preset("serving-parity")).render(frame(Path(path))).pixels


def through_the_container(unit):
    """A float image in 0..1 as predictor.py hands it over: three channels, zeros to a square, the processor."""
    image = np.repeat(unit[:, :, None], 3, axis=2) if unit.ndim == 2 else unit
    side = max(image.shape[:2])
    square = np.zeros((side, side, 3), np.float32)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    processor = SiglipImageProcessorPil(size={"height": 448, "width": 448}, do_rescale=False)
    values = processor(square, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    return np.rint((values.transpose(1, 2, 0) * 0.5 + 0.5) * 255).astype(np.uint8)


def windowed(values, centre, width):
    low, high = centre - width // 2, centre + width // 2
    return np.round(np.interp(np.clip(values, low, high), (low, high), (0, 65535)))


def a_file(tmp_path, values, modality, **attributes):
    """An instance of synthetic pixels; its path."""
    return write(instance(values, Modality=modality, **attributes), tmp_path)


def noise(shape, dtype):
    info = np.iinfo(dtype)
    return np.random.default_rng(7).integers(info.min // 3, info.max // 3, shape, dtype)


def equals(path, unit):
    np.testing.assert_array_equal(rendered(path), through_the_container(unit))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", [None, (40.0, 400.0), (40.0, 401.0)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_ct_equals_the_container(window, photometric, shape, tmp_path):
    values = np.random.default_rng(3).integers(0, 3000, shape).astype(np.int16)
    attributes = {"PhotometricInterpretation": photometric, "RescaleSlope": "1", "RescaleIntercept": "-1024"}
    if window:
        attributes |= {"WindowCenter": window[0], "WindowWidth": window[1]}
    path = a_file(tmp_path, values, "CT", **attributes)
    scaled = windowed(values.astype(np.float64) - 1024, *(window or (100.0, 2500.0)))
    equals(path, (65535 - scaled if photometric == "MONOCHROME1" else scaled) / 65535)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_radiograph_equals_the_container(dtype, photometric, shape, tmp_path):
    values = noise(shape, dtype)
    path = a_file(tmp_path, values, "CR", PhotometricInterpretation=photometric)
    most = 255 if values.dtype.itemsize == 1 else 65535
    if dtype is not np.uint8:
        wide = values.astype(np.float64)
        stretched = np.interp(wide, (wide.min(), wide.max()), (0, most)).astype(np.uint16)  # truncated
    else:
        stretched = values.astype(np.uint16)
    equals(path, (most - stretched if photometric == "MONOCHROME1" else stretched) / most)


def test_a_radiograph_with_a_window_and_a_rescale_equals_the_container(tmp_path):
    values = noise((50, 70), np.uint16)
    window = {"WindowCenter": 9000.0, "WindowWidth": 12001.0, "RescaleSlope": "0.5", "RescaleIntercept": "10"}
    path = a_file(tmp_path, values, "DX", **window)
    scaled = windowed(values * 0.5 + 10, 9000.0, 12001.0).astype(np.uint16).astype(np.float64)
    equals(path, np.interp(scaled, (scaled.min(), scaled.max()), (0, 65535)).astype(np.uint16) / 65535)


@pytest.mark.parametrize("modality", ["GM", "SM", "XC"])
@pytest.mark.parametrize("shape", [(60, 60, 3), (33, 80, 3), (33, 80)])
def test_photographs_and_microscopy_are_taken_as_stored(modality, shape, tmp_path):
    values = noise(shape, np.uint8)
    path = a_file(tmp_path, values, modality)
    equals(path, values / 255)


@pytest.mark.parametrize("name", ["RG1_J2KI", "RG2_J2KI", "RG3_J2KI"])
def test_a_real_radiograph_equals_the_container(name, corpus):
    path = corpus / "nema_wg04" / "J2KI" / name
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array
    if "RescaleSlope" in dataset:
        values = (values * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)).astype(values.dtype)
    if "WindowCenter" in dataset and not isinstance(dataset.WindowCenter, pydicom.multival.MultiValue):
        values = windowed(values, float(dataset.WindowCenter), float(dataset.WindowWidth)).astype(np.uint16)
    wide = values.astype(np.float64)
    stretched = np.interp(wide, (wide.min(), wide.max()), (0, 65535)).astype(np.uint16)
    equals(path, (65535 - stretched if dataset.PhotometricInterpretation == "MONOCHROME1" else stretched) / 65535)


def test_what_the_container_refuses_is_refused(tmp_path):
    with pytest.raises(InstanceError, match="takes no MR images"):
        rendered(get_testdata_file("MR_small.dcm"))
    with pytest.raises(InstanceError, match="takes no CR images in colour"):
        rendered(a_file(tmp_path, noise((9, 9, 3), np.uint8), "CR"))
