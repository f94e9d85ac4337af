"""On a CUDA device: embeddings are those of the CPU, whatever shares their batch, and too little memory is said.

Run by benchmarks/gpu.sh, which names a checkpoint of full size in FULL_SIZE; else `phantom` is used. Imports nothing beyond
what an encoder needs.
"""

import os

import numpy as np
import pytest

pytestmark = pytest.mark.gpu

MODEL = os.environ.get("FULL_SIZE", "phantom")


@pytest.fixture(scope="module")
def torch():
    library = pytest.importorskip("torch")
    if not library.cuda.is_available():
        pytest.skip("no CUDA device")
    return library


@pytest.fixture(scope="module")
def encoder(torch):
    from dicom_pipeline.encoders import load_encoder

    return load_encoder(MODEL, device="cuda")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (70, 448, 448, 3), dtype=np.uint8)


def test_embeddings_are_those_of_the_cpu(encoder, pixels):
    from dicom_pipeline.encoders import load_encoder

    expected = load_encoder(MODEL, device="cpu", dtype="float32", batch_size=1).encode_images(pixels[:2])
    made = encoder.encode_images(pixels[:2])
    cosines = (made * expected).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99


def test_an_image_has_the_same_bits_in_any_batch(encoder, pixels):
    among = encoder.encode_images(pixels)
    for number in (0, 33, 69):
        np.testing.assert_array_equal(encoder.encode_images(pixels[number : number + 1])[0], among[number])


def test_too_little_memory_is_an_error_that_says_what_to_do(torch, encoder):
    from dicom_pipeline.encoders import load_encoder
    from dicom_pipeline.errors import ModelError

    del encoder
    with pytest.raises(ModelError, match=r"encoder\.batch_size"):
        load_encoder(MODEL, device="cuda", batch_size=1_000_000)
