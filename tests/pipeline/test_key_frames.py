"""A frame that cannot be rendered a second time, for its key image, costs that image and not the report."""

import shutil

from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.encoders import load_encoder
from dicom_pipeline.pipeline import Pipeline, Recipe


class Deleting:
    """An encoder after whose work the study's files are gone."""

    def __init__(self, encoder, folder):
        self._encoder, self._folder = encoder, folder

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_images(self, pixels):
        vectors = self._encoder.encode_images(pixels)
        shutil.rmtree(self._folder, ignore_errors=True)
        return vectors


def test_a_file_that_is_gone_by_then(tmp_path, sample_data, caplog):
    shutil.copytree(sample_data / "studies" / "cr-chest-effusion", tmp_path / "study")
    settings = Settings(report=ReportSection(companions=("key-image", "key-objects")))
    encoder = Deleting(load_encoder("phantom", device="cpu", dtype="float32"), tmp_path / "study")
    with Pipeline(encoder, Recipe.from_settings(settings, encoder)) as pipeline:
        result = pipeline.process_study([tmp_path / "study"])
    assert result.report is not None
    assert len(result.embeddings) == 1
    assert "no picture of" in caplog.text
    assert not [made for made in result.companions if made.Modality == "OT"]
