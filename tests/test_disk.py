"""The lock on the data folder, and what is written there meanwhile: patients' data, not for other users."""

import os
import stat
import subprocess
import sys

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.disk import exclusive_lock
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.spool import Spool


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_made_while_the_folder_is_held_is_closed_to_others(tmp_path, umask):
    folder = tmp_path / "data"
    with exclusive_lock(folder, "serve.lock"):
        incoming = Spool(folder).receive(b"header")
        incoming.write(b"a patient")
        incoming.sync(incoming.place("1.2.3"))
        catalog = Catalog(folder / "catalog.sqlite")
        catalog.close()
    made = [folder, *folder.rglob("*")]
    assert {path.name for path in made} >= {"data", "instances", "incoming", "catalog.sqlite"}
    assert [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o007] == []
    group = [path for path in made if path.is_dir() and stat.S_IMODE(path.stat().st_mode) & 0o050]
    assert bool(group) == (not umask & 0o050)
    assert os.umask(umask) == umask


OWNER = """
import sys, time
from pathlib import Path
from dicom_pipeline.disk import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "serve.lock"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "locked\n"
        with (
            pytest.raises(ConfigError, match=rf"another service \(process {owner.pid}\) already works in"),
            exclusive_lock(tmp_path, "serve.lock"),
        ):
            pass
        owner.kill()
    with exclusive_lock(tmp_path, "serve.lock"):
        assert (tmp_path / "serve.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_released_where_the_work_fails(tmp_path):
    with pytest.raises(LookupError), exclusive_lock(tmp_path, "clean.lock"):
        raise LookupError
    with exclusive_lock(tmp_path, "clean.lock"):
        pass
