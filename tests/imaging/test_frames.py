"""Decoding and windows against other decoders on real files; refusals with a reason; presets."""

import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder

from dicom_pipeline.dicom.reading import read_file
from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason
from dicom_pipeline.errors import PresetError
from dicom_pipeline.imaging import SeriesRenderer, content_of, list_presets, load_preset
from dicom_pipeline.imaging.decoding.frames import Stored, decode, image_file
from dicom_pipeline.imaging.decoding.limits import Limits
from dicom_pipeline.imaging.windows import Span, rescale, to_grey
from tests.peers.programs import need

LOSSLESS = ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")


def frame(path, number=1) -> Frame:
    return Frame(FrameKey("1", number), Path(path), "1")


def default_preset(dataset) -> str:
    if dataset.get("SamplesPerPixel") == 3:
        return "colour"
    return {"CT": "ct-medgemma-report", "MR": "mr-percentile"}.get(str(dataset.get("Modality")), "xray")


def real_files(corpus):
    bundled = Path(pydicom.data.__file__).parent / "test_files"
    few = [
        p for folder in sorted(corpus.iterdir()) if folder.is_dir() for p in sorted(folder.rglob("*")) if p.is_file()
    ]
    return [p for i, p in enumerate(few) if "nema" in str(p) or i % 12 == 0] + sorted(bundled.glob("*.dcm"))


def test_every_real_file_is_rendered_or_refused_with_a_reason(corpus):
    rendered, refused = 0, {}
    for path in real_files(corpus):
        try:
            preset = default_preset(read_file(path).dataset)
            pixels = SeriesRenderer(load_preset(preset)).render(frame(path)).pixels
        except InstanceError as error:
            refused[path.name] = error.reason
            continue
        assert pixels.shape == (448, 448, 3)
        assert pixels.dtype == np.uint8
        rendered += 1
    assert rendered > 150
    assert set(refused.values()) <= set(Reason)


@pytest.mark.system
def test_lossless_files_decode_as_dcmtk_does(corpus, tmp_path):
    compared = 0
    for path in sorted((corpus / "nema_wg04").rglob("*")):
        if not path.is_file():
            continue
        header = read_file(path).dataset
        if header.file_meta.TransferSyntaxUID not in LOSSLESS[:3] or header.SamplesPerPixel != 1 or header.Rows > 1100:
            continue
        tool = {"1.2.840.10008.1.2.5": "dcmdrle", "1.2.840.10008.1.2.4.70": "dcmdjpeg"}
        program = tool.get(header.file_meta.TransferSyntaxUID, "dcmdjpls")
        plain = tmp_path / "plain.dcm"
        subprocess.run([need(program), path, plain], check=True, capture_output=True)
        np.testing.assert_array_equal(decode(frame(path)).values, decode(frame(plain)).values)
        image_file.cache_clear()
        compared += 1
    assert compared >= 12


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_every_decoder_gives_the_same_pixels(name):
    path = get_testdata_file(name)
    decoder = get_decoder(read_file(Path(path)).dataset.file_meta.TransferSyntaxUID)
    dataset = pydicom.dcmread(path)
    arrays = [decoder.as_array(dataset, index=0, decoding_plugin=plugin)[0] for plugin in decoder.available_plugins]
    assert len(arrays) >= 1
    ours = decode(frame(path)).values
    for array in arrays:
        np.testing.assert_array_equal(array, ours)


@pytest.mark.system
@pytest.mark.parametrize(("width", "level"), [(400, 40), (1500, -600)])
def test_windows_agree_with_dcm2pnm_to_one_grey_level(corpus, tmp_path, width, level):
    for path in sorted((corpus / "ct_ge_head").glob("*.dcm"))[::7]:
        out = tmp_path / "image.pgm"
        command = [need("dcm2pnm"), "--write-raw-pnm", "+Ww", str(level), str(width), path, out]
        subprocess.run(command, check=True, capture_output=True)
        stored = decode(frame(path))
        slope, intercept = float(stored.dataset.RescaleSlope), float(stored.dataset.RescaleIntercept)
        ours = to_grey(rescale(stored.values, slope, intercept), Span.of(width, level))
        difference = np.abs(ours.astype(int) - np.asarray(Image.open(out)).astype(int))
        assert difference.max() <= 1


def test_one_frame_of_many_is_the_same_as_from_all():
    path = get_testdata_file("rtdose.dcm", download=False)
    everything = pydicom.dcmread(path).pixel_array
    assert len(everything) == 15
    for number in (1, 5, 15):
        np.testing.assert_array_equal(decode(frame(path, number)).values, everything[number - 1])
    with pytest.raises(InstanceError) as caught:
        decode(frame(path, 16))
    assert caught.value.reason is Reason.TRUNCATED


def ct(**changes) -> pydicom.Dataset:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in changes.items():
            setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Rows": 60000, "Columns": 60000}, Reason.TOO_LARGE),
        ({"Rows": None}, Reason.MISSING_ATTRIBUTE),
        ({"PixelData": b"\0" * 100}, Reason.TRUNCATED),
        ({"RescaleSlope": "0"}, Reason.INVALID_ATTRIBUTE),
        ({"SamplesPerPixel": 4}, None),
    ],
)
def test_what_cannot_be_rendered_has_its_reason(changes, reason, tmp_path):
    path = tmp_path / "x.dcm"
    ct(**changes).save_as(path)
    with pytest.raises(InstanceError) as caught:
        SeriesRenderer(load_preset("ct-medgemma-report")).render(frame(path))
    assert reason is None or caught.value.reason is reason


def test_a_deflate_bomb_is_known_before_it_is_inflated(tmp_path):
    source = ct(PixelData=b"\0" * 2_000_000, Rows=1000, Columns=1000)
    source.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    path = tmp_path / "bomb.dcm"
    source.save_as(path)
    assert path.stat().st_size < 50_000
    with pytest.raises(InstanceError) as caught:
        decode(frame(path), Limits(max_inflated_bytes=1_000_000))
    assert caught.value.reason is Reason.TOO_LARGE
    assert decode(frame(path)).values.shape == (1000, 1000)


def test_overlay_bits_are_masked_and_an_odd_high_bit_is_shifted(tmp_path):
    values = np.arange(16, dtype=np.uint16).reshape(4, 4)
    dataset = ct(Rows=4, Columns=4, BitsStored=12, HighBit=15, PixelRepresentation=0)
    dataset.PixelData = ((values << 4) | 0x000F).astype("<u2").tobytes()
    path = tmp_path / "high.dcm"
    dataset.save_as(path)
    np.testing.assert_array_equal(decode(frame(path)).values, values)


def test_monochrome1_is_inverted_and_padding_is_black():
    header = pydicom.Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.Modality = "MONOCHROME1", 8, "CR"
    header.add_new("PixelPaddingValue", "US", 255)
    values = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = "127.5", "255", "LINEAR_EXACT"
    pixels = SeriesRenderer(load_preset("xray")).render_stored(Stored(values, header, ()))[224, :, 0]
    assert pixels[0] > 250
    assert pixels[-4] < 6
    assert pixels[-1] == 0


def test_content_tells_air_from_body(corpus, tmp_path):
    path = sorted((corpus / "ct_ge_head").glob("*.dcm"))[14]
    assert content_of(frame(path)) > 0.1
    air = pydicom.dcmread(path)
    air.PixelData = np.full((air.Rows, air.Columns), -1000 - int(air.RescaleIntercept), "<i2").tobytes()
    air.save_as(tmp_path / "air.dcm")
    assert content_of(frame(tmp_path / "air.dcm")) == 0.0


def test_presets_list_and_refuse():
    names = {preset.name for preset in list_presets()}
    assert {"ct-medgemma-report", "ct-single", "mr-percentile", "xray", "serving-parity", "colour"} <= names
    assert load_preset("ct-single:lung").digest != load_preset("ct-single:brain").digest
    assert load_preset("ct-single:1500/-600").windows == ((1500.0, -600.0),)
    for wrong in ("none", "ct-single:liver", "ct-single:0/1", "xray:3", "../rules"):
        with pytest.raises(PresetError):
            load_preset(wrong)
