"""MedSigLIP's full configuration, random weights: embeddings and scores equal transformers run the plain way."""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, SiglipModel

from dicom_pipeline.encoders import load_encoder
from dicom_pipeline.encoders.library import model_info

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = ["image with a nodule", "brain MR"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "sample_data"))
    try:
        from make_full_size import make
    finally:
        sys.path.remove(str(ROOT / "sample_data"))
    made = tmp_path_factory.mktemp("full")
    make(made)
    yield made
    (made / "model.safetensors").unlink()  # 1.8 GB


def test_the_full_size_model_gives_what_transformers_gives(folder):
    assert model_info("full", folder).parameters == pytest.approx(878e6, rel=0.01)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 448, 448, 3), dtype=np.uint8)
    plain = SiglipModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)(TEXTS, padding="max_length", max_length=64, return_tensors="pt")
    values = torch.from_numpy((pixels / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = plain(pixel_values=values, input_ids=ids["input_ids"])
    images, texts = expected.image_embeds.numpy(), expected.text_embeds.numpy()
    scores = torch.sigmoid(expected.logits_per_image).numpy()
    del plain, expected
    gc.collect()
    encoder = load_encoder(str(folder), device="cpu", dtype="float32", batch_size=1)
    assert encoder.dimension == 1152
    ours, said = (unit(v) for v in (encoder.encode_images(pixels), encoder.encode_texts(TEXTS)))
    np.testing.assert_allclose(ours, images, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(said, texts, rtol=1e-4, atol=1e-5)
    logits = ours @ said.T * np.exp(encoder.logit_scale) + encoder.logit_bias
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, rtol=1e-4, atol=1e-5)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
