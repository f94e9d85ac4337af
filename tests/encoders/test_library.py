"""Models on this machine: listed, imported, described without loading; texts cached as the same bits."""

import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_pipeline.cli.app import app
from dicom_pipeline.encoders import CachedTexts, load_encoder, text_cache
from dicom_pipeline.encoders.library import import_model, list_models, model_info
from dicom_pipeline.errors import ModelError, UnsafeWeightsError

PHANTOM = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("DICOM_PIPELINE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_an_imported_model_is_called_by_name(models, tmp_path):
    source = tmp_path / "usb-stick"
    shutil.copytree(PHANTOM, source)
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    target = import_model(source, "mine")
    assert not (target / "pytorch_model.bin").exists()
    assert ("mine", "imported", target) in list_models()
    assert load_encoder("mine", device="cpu", dtype="float32").weights == model_info("x", PHANTOM).weights
    assert model_info("mine", target).licence == "apache-2.0"
    with pytest.raises(ModelError, match="already"):
        import_model(source, "mine")
    for wrong in ("../up", "", ".hidden", "a/b"):
        with pytest.raises(ModelError, match="name"):
            import_model(source, wrong)


def test_pickles_alone_are_not_imported(models, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UnsafeWeightsError):
        import_model(tmp_path, "bad")
    assert not models.exists() or not any(models.iterdir())


def test_info_says_what_the_loaded_model_says():
    info = model_info("phantom", PHANTOM)
    encoder = load_encoder("phantom", device="cpu", dtype="float32")
    assert (info.dimension, info.weights, info.notice) == (encoder.dimension, encoder.weights, encoder.notice)
    assert info.parameters == sum(p.numel() for p in encoder._model.parameters())
    assert (info.image_size, info.text_tokens) == (448, 64)


def test_the_commands_list_import_and_describe(models):
    runner = CliRunner()
    assert "phantom" in runner.invoke(app, ["models"]).output
    assert "--model copy" in runner.invoke(app, ["models", "import", str(PHANTOM), "--name", "copy"]).output
    shown = runner.invoke(app, ["models", "info", "copy"]).output
    assert "2.7 million" in shown
    assert "mean nothing on patients" in " ".join(shown.split())


class Counting:
    """An encoder that counts the texts that its tower runs."""

    def __init__(self, encoder):
        self.encoder, self.ran = encoder, []
        self.weights, self.precision, self.dimension = encoder.weights, encoder.precision, encoder.dimension
        self.logit_scale, self.logit_bias = encoder.logit_scale, encoder.logit_bias

    def encode_texts(self, texts):
        self.ran += texts
        return self.encoder.encode_texts(texts)


def test_texts_are_run_once_and_come_back_as_the_same_bits(tmp_path):
    encoder = load_encoder("phantom", device="cpu", dtype="float32")
    texts = ["brain MR", "a nodule", "brain MR", "chest X-ray with cardiomegaly"]
    first, second = Counting(encoder), Counting(encoder)
    made = CachedTexts(first, tmp_path).encode_texts(texts)
    np.testing.assert_array_equal(made, encoder.encode_texts(texts))
    np.testing.assert_array_equal(CachedTexts(second, tmp_path).encode_texts(texts[::-1]), made[::-1])
    assert first.ran == ["brain MR", "a nodule", "chest X-ray with cardiomegaly"]
    assert second.ran == []


def test_another_version_of_a_library_computes_anew(tmp_path, monkeypatch):
    encoder = Counting(load_encoder("phantom", device="cpu", dtype="float32"))
    CachedTexts(encoder, tmp_path).encode_texts(["brain MR"])
    monkeypatch.setattr(text_cache, "version", lambda name: "99")
    CachedTexts(encoder, tmp_path).encode_texts(["brain MR"])
    assert encoder.ran == ["brain MR"] * 2


def test_a_broken_cache_is_mended_and_one_that_cannot_be_written_is_done_without(tmp_path):
    encoder = Counting(load_encoder("phantom", device="cpu", dtype="float32"))
    CachedTexts(encoder, tmp_path).encode_texts(["brain MR"])
    (file,) = tmp_path.rglob("*.npy")
    file.write_bytes(file.read_bytes()[:60])
    made = CachedTexts(encoder, tmp_path).encode_texts(["brain MR"])
    assert encoder.ran == ["brain MR"] * 2
    np.testing.assert_array_equal(np.load(file), made[0])
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    np.testing.assert_array_equal(CachedTexts(encoder, blocked).encode_texts(["brain MR"]), made)
