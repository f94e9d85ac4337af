"""The resizes against TensorFlow's golden values and Hugging Face's SigLIP processor."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.imaging.resize import resize
from tests.imaging.plain import plain_tf_bilinear

GOLDEN = json.loads((Path(__file__).parent / "tf_resize_golden.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['height']}x{c['width']}")
def test_tf_bilinear_equals_tensorflow_bit_for_bit(case):
    image = np.random.default_rng(case["seed"]).integers(0, 256, (case["height"], case["width"], 3), dtype=np.uint8)
    assert hashlib.sha256(image.tobytes()).hexdigest() == case["input_sha256"]
    out = resize(image, "tf-bilinear", "stretch")
    assert hashlib.sha256(out.tobytes()).hexdigest() == case["output_uint8_sha256"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32 - 1), st.sampled_from(["pad-square", "stretch"]))
def test_tapped_resize_equals_padding_first_and_resizing_everything(rows, columns, seed, geometry):
    image = np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, "tf-bilinear", geometry), plain_tf_bilinear(image, geometry))


@pytest.mark.parametrize(("method", "resample"), [("pil-bilinear", 2), ("pil-bicubic", 3)])
def test_pil_methods_equal_the_hugging_face_processor(method, resample):
    from transformers import SiglipImageProcessorPil

    image = np.random.default_rng(1).integers(0, 256, (512, 400, 3), dtype=np.uint8)
    processor = SiglipImageProcessorPil(size={"height": 448, "width": 448}, resample=resample)
    theirs = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    ours = (resize(image, method, "stretch") / np.float32(255) - 0.5) / 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_antialias_keeps_the_mean_of_a_fine_checkerboard():
    image = np.indices((896, 896)).sum(axis=0) % 2 * 255
    out = resize(image.astype(np.uint8), "antialias", "stretch")
    assert out[8:-8, 8:-8].min() >= 120
    assert out[8:-8, 8:-8].max() <= 135


def test_pad_square_puts_the_image_in_the_middle_on_black():
    out = resize(np.full((100, 50), 200, np.uint8), "tf-bilinear", "pad-square")
    assert out[:, :100].max() == 0
    assert out[:, -100:].max() == 0
    assert out[224, 224] == 200
