"""What is written in the data folder while it is held: patients' data, not for other users of the machine."""

import os
import stat

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.disk import hold
from dicom_pipeline.intake.spool import Spool


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_made_while_the_folder_is_held_is_closed_to_others(tmp_path, umask):
    folder = tmp_path / "data"
    with hold(folder, "serve.lock"):
        Spool(folder).store("1.2.3", b"header", b"a patient")
        catalog = Catalog(folder / "catalog.sqlite")
        catalog.close()
    made = [folder, *folder.rglob("*")]
    assert {path.name for path in made} >= {"data", "instances", "incoming", "catalog.sqlite"}
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o007] == []
    group = [path for path in made if path.is_dir() and stat.S_IMODE(path.stat().st_mode) & 0o050]
    assert bool(group) == (not umask & 0o050)
    assert os.umask(umask) == umask
