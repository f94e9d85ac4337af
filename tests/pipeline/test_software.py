"""The build identity says what our code and data are, and nothing of how or where they were installed."""

import shutil
from importlib import resources
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from dicom_pipeline.pipeline import Recipe
from dicom_pipeline.pipeline.software import (
    ABSENT,
    LIBRARIES,
    build_identity,
    digest_of_package,
    distribution_of,
    library_versions,
)

PACKAGE = Path(str(resources.files("dicom_pipeline")))


@pytest.fixture
def package(tmp_path):
    """A package of a source file and a data file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "data" / "preset.toml").write_text("version = 1\n")
    return tmp_path


def test_an_installed_copy_has_the_identity_of_the_checkout(tmp_path):
    excluded = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")  # what a wheel does not hold
    installed = shutil.copytree(PACKAGE, tmp_path / "site-packages" / "dicom_pipeline", ignore=excluded)
    assert digest_of_package(installed) == build_identity()


def test_what_python_and_tools_leave_behind_does_not_count(package):
    before = digest_of_package(package)
    for name in ("__pycache__/code.cpython-312.pyc", "data/.cache/x", ".hidden", "old.pyc"):
        file = package / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"left behind")
    (package / "code.py").touch()
    (package / "code.py").chmod(0o755)
    assert digest_of_package(package) == before


def test_any_change_of_source_or_data_counts(package):
    seen = {digest_of_package(package)}
    changes = [
        lambda: (package / "code.py").write_text("x = 2\n"),
        lambda: (package / "data" / "preset.toml").write_text("version = 2\n"),
        lambda: (package / "data" / "new.toml").write_text(""),
        lambda: (package / "code.py").rename(package / "renamed.py"),
        (package / "data" / "new.toml").unlink,
    ]
    for change in changes:
        change()
        seen.add(digest_of_package(package))
    assert len(seen) == 1 + len(changes)


def test_every_library_is_one_that_the_project_requires():
    named = {Requirement(text).name.lower() for text in requires("dicom-pipeline")}
    assert set(LIBRARIES) <= named
    versions = dict(library_versions())
    assert set(versions) == {"python", *LIBRARIES}
    assert ABSENT not in [versions[name] for name in LIBRARIES if name != "reportlab"]


def test_an_encoder_of_others_is_known_by_its_distribution():
    assert distribution_of(Requirement) == f"packaging {version('packaging')}"
    assert distribution_of(Recipe) == distribution_of(int) == ""
