"""`doctor` says what renders here, and which decoders there are."""

from dicom_pipeline.config import Settings
from dicom_pipeline.maintenance import doctor


def test_it_says_what_renders(tmp_path):
    compiled = Settings(rendering={"kernel_folder": tmp_path / "kernels"})
    assert doctor._kernel_check(compiled) == ("rendering", (True, "by loops that numba compiled"))
    assert list((tmp_path / "kernels").glob("*.loops"))
    assert doctor._kernel_check(Settings(rendering={"kernel": "numpy"})) == ("rendering", (True, "by numpy"))


def test_without_numba_it_says_what_would_be_quicker(monkeypatch):
    monkeypatch.setattr("dicom_pipeline.pipeline.renderers.kernels.find_spec", lambda _: None)
    name, (good, says) = doctor._kernel_check(Settings())
    assert (name, good) == ("rendering", True)
    assert "dicom-pipeline[fast]" in says


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("dicom_pipeline.pipeline.renderers.kernels.COMPILER", "no.such.module")
    good, says = doctor._kernel_check(Settings(rendering={"kernel_folder": tmp_path}))[1]
    assert not good
    assert says.startswith("by numpy: ")


def test_every_decoder_that_is_used_is_looked_for():
    name, (good, says) = doctor._codec_check()
    assert (name, good) == ("pixel decoders", True)
    assert {"python-gdcm", "imagecodecs", "pyjpegls"} <= set(says.split(", "))
