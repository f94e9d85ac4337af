"""`serving-parity` against the container's rules, written down here a second time, and the Hugging Face processor."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from dicom_pipeline.domain import Frame, FrameKey, InstanceError
from dicom_pipeline.imaging import SeriesRenderer, load_preset


def rendered(path):
    return SeriesRenderer(load_preset("serving-parity")).render(Frame(FrameKey("1"), Path(path), "1")).pixels


def through_the_processor(unit):
    """A float image (rows, columns) in 0..1 as the container hands it over; back as the uint8 that the model sees."""
    processor = SiglipImageProcessorPil(size={"height": 448, "width": 448}, do_rescale=False)
    image = np.repeat(unit[:, :, None], 3, axis=2).astype(np.float32)
    values = processor(image, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    return np.rint((values.transpose(1, 2, 0) * 0.5 + 0.5) * 255).astype(np.uint8)


def scaled(values, centre, width):
    low, high = centre - width // 2, centre + width // 2
    return np.rint((np.clip(values, low, high) - low) / (high - low) * 65535)


@pytest.mark.parametrize("window", [None, (40.0, 400.0)])
def test_ct_equals_the_container(window, tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name in ("WindowCenter", "WindowWidth"):
        if name in dataset:
            del dataset[name]
    if window:
        dataset.WindowCenter, dataset.WindowWidth = window
    dataset.save_as(tmp_path / "ct.dcm")
    values = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    expected = through_the_processor(scaled(values, *(window or (100.0, 2500.0))) / 65535)
    difference = np.abs(rendered(tmp_path / "ct.dcm").astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.999


def test_a_radiograph_equals_the_container(corpus):
    path = corpus / "nema_wg04" / "J2KI" / "RG1_J2KI"
    dataset = pydicom.dcmread(path)
    values = np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float64)
    if "WindowCenter" in dataset and not isinstance(dataset.WindowCenter, pydicom.multival.MultiValue):
        values = scaled(values, float(dataset.WindowCenter), float(dataset.WindowWidth))
    full = 65535.0
    stretched = np.rint((values - values.min()) / (values.max() - values.min()) * full)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        stretched = stretched.max() - stretched
    expected = through_the_processor(stretched / full)
    difference = np.abs(rendered(path).astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.999


def test_what_the_container_refuses_is_refused():
    with pytest.raises(InstanceError, match="serving container"):
        rendered(get_testdata_file("MR_small.dcm"))
