"""Transfer syntaxes that few files here have, made or found, against another decoder."""

import subprocess
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from dicom_pipeline.dicom.reading import read_file
from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.frames import decode
from tests.peers.programs import need


def frame(path, number=1) -> Frame:
    return Frame(FrameKey("1", number), Path(path), "1")


def small_ct() -> pydicom.Dataset:
    return pydicom.dcmread(get_testdata_file("CT_small.dcm"))


@pytest.mark.system
def test_12_bit_jpeg_extended_decodes_as_dcmtk_does(corpus, tmp_path):
    compared = 0
    for path in sorted((corpus / "nema_wg04" / "JPLY").iterdir()):
        dataset = pydicom.dcmread(path)
        plain = tmp_path / f"{path.name}.dcm"
        subprocess.run([need("dcmdjpeg"), path, plain], check=True, capture_output=True)
        ours, theirs = decode(frame(path)).values, decode(frame(plain)).values
        # where a lossy value overshoots BitsStored we clip it, and dcmdjpeg leaves it for the mask to wrap around
        inside = ours < (1 << dataset.BitsStored) - 1
        np.testing.assert_array_equal(ours[inside], theirs[inside])
        assert inside.mean() > 0.7
        compared += 1
    assert compared == 10


def test_12_bit_jpeg_clips_what_overshoots(tmp_path):
    values = np.full((64, 64), 4095, np.uint16)
    values[20:40, 20:40] = 0
    dataset = small_ct()
    dataset.Rows = dataset.Columns = 64
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 10, 9, 0
    dataset.PixelData = encapsulate([imagecodecs.jpeg_encode(values, level=50, bitspersample=12)])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
    dataset.save_as(tmp_path / "x.dcm")
    ours = decode(frame(tmp_path / "x.dcm")).values
    assert ours.max() == 1023
    assert ours[0, 0] == 1023


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"])
def test_htj2k_gives_the_stored_values(syntax, tmp_path):
    dataset = small_ct()
    values = dataset.pixel_array
    dataset.PixelData = encapsulate([imagecodecs.htj2k_encode(values, reversible=True)])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "ht.dcm")
    np.testing.assert_array_equal(decode(frame(tmp_path / "ht.dcm")).values, values)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_float_pixels_are_rendered(keyword, dtype, tmp_path):
    dataset = small_ct()
    values = dataset.pixel_array.astype(dtype)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation", "SmallestImagePixelValue"):
        if name in dataset:
            del dataset[name]
    setattr(dataset, keyword, values.tobytes())
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.save_as(tmp_path / "float.dcm")
    np.testing.assert_array_equal(decode(frame(tmp_path / "float.dcm")).values, values)
    preset = load_preset("ct-medgemma-report")
    from_float = SeriesRenderer(preset).render(frame(tmp_path / "float.dcm")).pixels
    from_integers = SeriesRenderer(preset).render(frame(get_testdata_file("CT_small.dcm"))).pixels
    np.testing.assert_array_equal(from_float, from_integers)


def test_jpeg_2000_and_jpeg_ls_equal_every_other_decoder(corpus):
    compared = 0
    for folder in ("J2KR", "JLSL", "JPLL", "RLE"):
        for path in sorted((corpus / "nema_wg04" / folder).iterdir())[:4]:
            header = read_file(path).dataset
            if header.SamplesPerPixel != 1 or header.Rows > 1100:
                continue
            decoder = get_decoder(header.file_meta.TransferSyntaxUID)
            ours = decode(frame(path)).values
            for plugin in decoder.available_plugins:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        theirs, _ = decoder.as_array(pydicom.dcmread(path), index=0, decoding_plugin=plugin)
                    except RuntimeError:
                        continue  # one plugin refuses some streams; another then decodes them for us too
                np.testing.assert_array_equal(ours, theirs)
                compared += 1
    assert compared >= 12


def test_a_deep_grey_image_without_a_window_is_not_flat_under_colour(corpus):
    path = corpus / "nema_wg04" / "RLE" / "NM1_RLE"
    pixels = SeriesRenderer(load_preset("colour")).render(frame(path)).pixels
    assert pixels.max() > 200
    assert pixels.std() > 20
