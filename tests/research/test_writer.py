"""A service that was installed without the packages of the embedding store."""

import logging

from dicom_pipeline.config import Settings
from dicom_pipeline.research import writer as store_writer


def test_without_its_packages_the_store_is_left_out_and_that_is_said_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(store_writer, "find_spec", lambda _: None)
    caplog.set_level(logging.INFO, "dicom_pipeline")
    settings = Settings(spool={"folder": tmp_path / "spool"})
    writer = store_writer.StoreWriter(settings)
    assert not writer.write("1.2.3", 1, None)
    assert not writer.write("1.2.3", 2, None)
    (line,) = caplog.messages
    assert "pip install 'dicom-pipeline[research]'" in line
    assert not (tmp_path / "spool").exists()
    caplog.clear()
    store_writer.StoreWriter(Settings(spool={"folder": tmp_path}, store={"write": False}))
    assert caplog.messages == []
