"""Embeddings and scores equal transformers run the plain way, whatever else is in the batch; loading says what is wrong."""

import shutil
import threading
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, SiglipModel, ViTConfig, ViTModel

from dicom_pipeline.domain import Label, LabelSet, ScoreKind
from dicom_pipeline.encoders import encode_stream, load_encoder
from dicom_pipeline.encoders.device import choose_batch, usual_batch
from dicom_pipeline.errors import (
    ModelError,
    ModelNotFoundError,
    NoTextTowerError,
    PromptTooLongError,
    UnsafeWeightsError,
)
from dicom_pipeline.scoring import ZeroShot

PHANTOM = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("phantom", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 448, 448, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain():
    """The checkpoint run the plain way: model and inputs as the model card has them."""
    model = SiglipModel.from_pretrained(PHANTOM).eval()
    tokenizer = AutoTokenizer.from_pretrained(PHANTOM)

    def run(pixels, texts):
        values = torch.from_numpy((pixels / 255.0 - 0.5) / 0.5).permute(0, 3, 1, 2).float()
        ids = tokenizer(texts, padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return model(pixel_values=values, input_ids=ids)

    return run


TEXTS = ["image with a nodule", "brain MR", "chest X-ray without a pleural effusion"]


def test_embeddings_equal_the_plain_way(encoder, plain, pixels):
    expected = plain(pixels, TEXTS)
    for ours, theirs in (
        (encoder.encode_images(pixels), expected.image_embeds),
        (encoder.encode_texts(TEXTS), expected.text_embeds),
    ):
        unit = ours / np.linalg.norm(ours, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, theirs.numpy(), rtol=1e-5, atol=1e-6)
        assert ours.dtype == np.float32


def test_scores_equal_logits_per_image_through_a_sigmoid(encoder, plain, pixels):
    labels = tuple(Label(text, (text,)) for text in TEXTS)
    ours = ZeroShot(encoder, LabelSet("t", "1", labels, ScoreKind.ZERO_SHOT_SIGMOID)).matrix(
        encoder.encode_images(pixels)
    )
    theirs = torch.sigmoid(plain(pixels, TEXTS).logits_per_image).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_an_embedding_does_not_depend_on_its_batch(encoder, pixels):
    together = encoder.encode_images(pixels)
    for index in range(len(pixels)):
        alone = encoder.encode_images(pixels[index : index + 1])[0]
        np.testing.assert_array_equal(alone, together[index])
    np.testing.assert_array_equal(encoder.encode_images(pixels[::-1]), together[::-1])


def test_bfloat16_stays_close(encoder, pixels):
    half = load_encoder("phantom", device="cpu", dtype="bfloat16")
    a, b = encoder.encode_images(pixels), half.encode_images(pixels)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() >= 0.999
    assert (encoder.precision, half.precision) == ("cpu-float32", "cpu-bfloat16")
    assert encoder.weights == half.weights


def test_padding_is_to_64_tokens(encoder):
    assert len(encoder._tokens("brain MR")) == 64
    longer = encoder.encode_texts(["brain MR", "axial CT of the chest with a pleural effusion"])
    np.testing.assert_array_equal(longer[0], encoder.encode_texts(["brain MR"])[0])


def test_a_long_prompt_is_refused_and_not_cut(encoder):
    with pytest.raises(PromptTooLongError, match="64"):
        encoder.encode_texts(["nodule " * 100])


def test_the_stream_keeps_order_and_fills_batches(encoder, pixels):
    calls = []

    class Counting:
        batch_size = 3

        def encode_images(self, batch):
            calls.append(len(batch))
            return encoder.encode_images(batch)

    items = [(i, pixels[i % 5]) for i in range(7)]
    out = list(encode_stream(Counting(), [*items[:4], None, *items[4:]]))
    assert [item[0] if item else None for item in out] == [0, 1, 2, 3, None, 4, 5, 6]
    assert calls == [3, 1, 3]


def test_the_next_batch_is_filled_while_one_is_encoded(pixels):
    """The first batch ends only when the second has been drawn: a stream that waits for it would stand still."""
    drawn = threading.Event()

    class Slow:
        batch_size = 2

        def encode_images(self, batch):
            assert drawn.wait(60)
            return np.zeros((len(batch), 4), np.float32)

    def items():
        for number in range(6):
            if number == 3:
                drawn.set()
            yield number, pixels[0]

    assert [item[0] for item in encode_stream(Slow(), items())] == list(range(6))


def test_what_an_encoder_raises_ends_the_stream(pixels):
    class Broken:
        batch_size = 2

        def encode_images(self, batch):
            raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        list(encode_stream(Broken(), [(number, pixels[0]) for number in range(8)]))


def test_wrong_models_say_what_is_wrong(tmp_path):
    with pytest.raises(ModelNotFoundError, match="google/medsiglip-448"):
        load_encoder("no-such-model")
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        load_encoder(str(tmp_path))
    pickled = tmp_path / "pickled"
    shutil.copytree(PHANTOM, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UnsafeWeightsError, match="never loaded"):
        load_encoder(str(pickled))
    with pytest.raises(ModelError, match="no device"):
        load_encoder("phantom", device="cuda:99")


def test_a_hub_model_that_cannot_be_had_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="accept the terms"):
        load_encoder("google/medsiglip-448")


def test_a_folder_is_loaded_as_siglip_and_its_notice_is_read(encoder):
    again = load_encoder(str(PHANTOM), device="cpu", dtype="float32")
    assert again.weights == encoder.weights
    assert "phantom" in again.notice


def test_an_image_only_model_embeds_and_refuses_text(tmp_path, pixels):
    config = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=64)
    ViTModel(config).save_pretrained(tmp_path)
    encoder = load_encoder(f"vision:{tmp_path}", device="cpu", dtype="float32")
    assert encoder.encode_images(pixels[:2]).shape == (2, 32)
    with pytest.raises(NoTextTowerError, match="zero-shot"):
        encoder.encode_texts(["x"])


def test_the_batch_depends_on_the_card_and_not_on_what_is_free(monkeypatch):
    gib = 1024**3
    assert [usual_batch("cuda", size * gib) for size in (80, 24, 8, 7, 2)] == [64, 64, 64, 32, 16]
    assert usual_batch("cpu", None) == 2
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * gib))
    card, tried = torch.device("cuda"), []
    assert (choose_batch(card, None, tried.append), choose_batch(card, 5, tried.append)) == (64, 5)
    assert tried == [64, 5]

    def occupied(size):
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(ModelError, match=r"encoder\.batch_size"):
        choose_batch(card, None, occupied)
