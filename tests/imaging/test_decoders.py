"""The quickest decoder of each transfer syntax gives the pixels of the others, and notices what they notice."""

import logging

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.pixels.encoders import RLELosslessEncoder

from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import InstanceError, Reason
from dicom_pipeline.imaging.decoding.decoders import PLUGINS, decode_first, plugins_of
from dicom_pipeline.imaging.decoding.frames import decode
from tests.imaging.made import instance, write
from tests.imaging.test_codecs import frame

GPL = "pylibjpeg-libjpeg"


@pytest.fixture(autouse=True, scope="module")
def quiet_pydicom():
    """pydicom logs the traceback of each decoder that refuses a stream."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("pydicom").setLevel(logging.NOTSET)


def options_of(values: np.ndarray, bits: int, syntax: str, signed: bool = False) -> dict:
    grey = values.ndim == 2
    return {
        "rows": values.shape[0],
        "columns": values.shape[1],
        "samples_per_pixel": 1 if grey else 3,
        "planar_configuration": 0,
        "photometric_interpretation": "MONOCHROME2" if grey else "RGB",
        "bits_allocated": values.dtype.itemsize * 8,
        "bits_stored": bits,
        "pixel_representation": int(signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        "transfer_syntax_uid": syntax,
    }


def decoded(code: bytes, options: dict, plugin: str = "") -> np.ndarray | str:
    """The values by one plugin, or by the first that can; "refused" where there are none."""
    decoder, stream = get_decoder(options["transfer_syntax_uid"]), encapsulate([code])
    with suppress_warnings():  # of excess bytes
        try:
            if not plugin:
                return decode_first(decoder, stream, options)
            return decoder.as_array(stream, index=0, decoding_plugin=plugin, **options)[0]
        except (RuntimeError, ValueError):
            return "refused"


@st.composite
def grey_images(draw):
    bits = draw(st.integers(2, 16))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 4, 1 << bits]))
    values = random.integers(0, min(spread, 1 << bits), shape) + draw(st.integers(0, (1 << bits) - 1))
    return (values % (1 << bits)).astype(np.uint8 if bits <= 8 else np.uint16), bits


@settings(max_examples=150, deadline=None)
@given(image=grey_images(), predictor=st.integers(1, 7), signed=st.booleans())
def test_lossless_jpeg_of_any_depth_and_predictor_is_what_gdcm_reads(image, predictor, signed):
    values, bits = image
    syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
    code = imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=bits, predictor=predictor)
    options = options_of(values, bits, syntax, signed)
    made = decoded(code, options, "imagecodecs")
    np.testing.assert_array_equal(made.view(values.dtype) & ((1 << bits) - 1), values)  # pydicom extends the sign
    if bits >= 8:  # gdcm does not survive fewer
        np.testing.assert_array_equal(made, decoded(code, options, "gdcm"))


def rle(values: np.ndarray) -> bytes:
    options = options_of(values, values.dtype.itemsize * 8, uid.RLELossless)
    return RLELosslessEncoder.encode(values, encoding_plugin="pydicom", **options)


@st.composite
def rle_images(draw):
    dtype, samples = draw(st.sampled_from([(np.uint8, ()), (np.uint8, (3,)), (np.uint16, ()), (np.uint16, (3,))]))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (random.integers(0, draw(st.sampled_from([1, 4, 256])), (*shape, *samples)) ** 2).astype(dtype)


@settings(max_examples=150, deadline=None)
@given(values=rle_images())
def test_rle_is_what_was_encoded(values):
    options = options_of(values, values.dtype.itemsize * 8, uid.RLELossless)
    np.testing.assert_array_equal(decoded(rle(values), options, "imagecodecs"), values)


@settings(max_examples=300, deadline=None)
@given(values=rle_images(), data=st.data())
def test_damaged_rle_is_what_pydicom_makes_of_it(values, data):
    code = bytearray(rle(values))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(code) - 1))
        code[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    options = options_of(values, values.dtype.itemsize * 8, uid.RLELossless)
    alone = decoded(bytes(code), options, "imagecodecs")
    theirs = decoded(bytes(code), options, "pydicom")
    if not isinstance(alone, str):
        np.testing.assert_array_equal(alone, theirs)
    np.testing.assert_array_equal(decoded(bytes(code), options), theirs)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGExtended12Bit, uid.JPEGBaseline8Bit])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_jpeg_that_ends_early_is_no_image(syntax, share, tmp_path):
    """libjpeg-turbo gives such an image without a word, with grey in place of what is missing."""
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    values = np.random.default_rng(0).integers(0, 1 << bits, (64, 64)).astype(np.uint8 if bits == 8 else np.uint16)
    lossless = {"lossless": True, "predictor": 1} if syntax == uid.JPEGLosslessSV1 else {}
    code = imagecodecs.jpeg8_encode(values, bitspersample=bits, **lossless)
    for stream, readable in ((code, True), (code + b"\xff\x00", True), (code[: int(len(code) * share)], False)):
        dataset = instance(values, BitsStored=bits, HighBit=bits - 1)
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        path = write(dataset, tmp_path, syntax)
        if readable:
            assert decode(frame(path)).values.shape == (64, 64)
        else:
            with pytest.raises(InstanceError) as caught:
                decode(frame(path))
            assert caught.value.reason in (Reason.DECODE_FAILED, Reason.TRUNCATED)


def test_the_first_plugin_that_can_decodes():
    """A colour image in lossless JPEG is for gdcm, 8 bits of JPEG Extended for Pillow."""
    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    options = options_of(grey, 8, uid.JPEGExtended12Bit)
    code = imagecodecs.jpeg8_encode(grey, level=95)
    assert isinstance(decoded(code, options, "imagecodecs"), str)
    np.testing.assert_array_equal(decoded(code, options), decoded(code, options, "pillow"))
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    options = options_of(colour, 8, uid.JPEGLosslessSV1)
    code = imagecodecs.jpeg8_encode(colour, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")
    assert isinstance(decoded(code, options, "imagecodecs"), str)
    np.testing.assert_array_equal(decoded(code, options), colour)


def test_each_syntax_has_its_decoders_and_none_is_gpl():
    for syntax, names in PLUGINS.items():
        assert plugins_of(get_decoder(syntax)) == names
        if "pylibjpeg" in names:  # OpenJPEG; for all other syntaxes pydicom's plugin would take the GPL library
            assert not any(GPL in missing for missing in get_decoder(syntax).missing_dependencies)
