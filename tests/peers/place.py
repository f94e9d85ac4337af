"""A service's folder without a service: settings, spool and catalog with one study that is ready to be processed."""

import sqlite3
from pathlib import Path

import pydicom

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.revisions import make_revision
from dicom_pipeline.config import load_settings
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool

INSTANCES = 3


class Place:
    """A service's folder with one study whose revision is ready."""

    def __init__(self, folder: Path, sample_data: Path) -> None:
        self.config = folder / "pipeline.toml"
        self.config.write_text(
            '[spool]\nfolder = "data"\n[planning]\nselection = "all"\n'
            '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
        )
        self.reports = folder / "reports"
        self.settings = load_settings(self.config)
        self.folder = self.settings.spool.folder
        self.catalog = Catalog(self.folder / "catalog.sqlite")
        self.receive(sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:INSTANCES])

    def receive(self, paths: list[Path]) -> list[UploadResult]:
        receiver = Receiver(self.catalog, Spool(self.folder), 10**9, 0)
        taken = [receiver.receive(path.read_bytes(), source="TEST", address="127.0.0.1") for path in paths]
        study = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
        if self.query(f"SELECT waiting FROM study WHERE study_instance_uid = '{study}'") == [(1,)]:
            make_revision(self.catalog, study, 1_700_000_000.0, "quiet")
        return [upload.result for upload in taken]

    def query(self, statement: str) -> list:
        with sqlite3.connect(self.folder / "catalog.sqlite") as catalog:
            rows = catalog.execute(statement).fetchall()
        catalog.close()
        return rows
