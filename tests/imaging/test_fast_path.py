"""The fast path gives the bytes of the plain path, by either kernel, over random geometry, bit depth, signedness and slopes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.frames import Stored
from dicom_pipeline.imaging.kernels import NumpyKernel
from tests.imaging.plain import plain_render


@pytest.fixture(scope="module", params=["numpy", "numba"])
def kernel(request, compiled_kernel):
    return NumpyKernel() if request.param == "numpy" else compiled_kernel


PRESETS = [
    "ct-medgemma-report",
    "ct-medgemma-notebook",
    "ct-single:lung",
    "ct-single:80/40",
    "mr-voi",
    "xray",
    "mr-percentile",
    "mr-minmax",
]


@st.composite
def stored_frames(draw):
    bits = draw(st.sampled_from([8, 10, 12, 16]))
    signed = draw(st.booleans())
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    shape = draw(st.integers(1, 600)), draw(st.integers(1, 600))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(low, high, shape, dtype, endpoint=True)
    values.flags.writeable = draw(st.booleans())
    values = values.T if draw(st.booleans()) else values
    header = Dataset()
    header.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    header.BitsStored, header.Modality = bits, draw(st.sampled_from(["CT", "MR", "CR"]))
    if draw(st.booleans()):
        header.RescaleSlope = str(draw(st.sampled_from([1, 0.5, -1, 2.25, 0.001])))
        header.RescaleIntercept = str(draw(st.sampled_from([0, -1024, 12.5])))
    if draw(st.booleans()):
        header.WindowCenter, header.WindowWidth = draw(
            st.sampled_from([("40", "400"), ([0, 3], [1, 9]), ("-600", "1500")])
        )
        header.VOILUTFunction = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    if draw(st.booleans()):
        header.add_new("PixelPaddingValue", "SS" if signed else "US", int(low))
    return Stored(values, header, ())


@settings(max_examples=150, deadline=None)
@given(stored=stored_frames(), preset=st.sampled_from(PRESETS))
def test_fast_equals_plain(kernel, stored, preset):
    renderer = SeriesRenderer(load_preset(preset), kernel=kernel)
    fast = renderer.render_stored(stored)
    assert fast.shape == (448, 448, 3)
    assert fast.dtype == np.uint8
    assert fast.flags.c_contiguous
    np.testing.assert_array_equal(fast, plain_render(renderer, stored))


@pytest.mark.parametrize("preset", ["ct-medgemma-report", "ct-single:brain"])
def test_fast_equals_plain_on_real_ct(corpus: Path, preset, kernel):
    from dicom_pipeline.domain import Frame, FrameKey
    from dicom_pipeline.imaging.decoding.frames import decode

    renderer = SeriesRenderer(load_preset(preset), kernel=kernel)
    for path in sorted((corpus / "ct_ge_head").glob("*.dcm"))[::9]:
        frame = Frame(FrameKey("1"), path, "1")
        np.testing.assert_array_equal(renderer.render(frame).pixels, plain_render(renderer, decode(frame)))
