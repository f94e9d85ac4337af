"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from dicom_pipeline.catalog import Catalog

# The same examples on each run, so that a failure says something of the commit; `make test-long` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", derandomize=False, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory):
    """Cached text embeddings of a test run stay out of the user's home."""
    if "DICOM_PIPELINE_CACHE" not in os.environ:
        os.environ["DICOM_PIPELINE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder of real, de-identified DICOM; found through DICOM_CORPUS, else beside the checkout."""
    folder = Path(os.environ.get("DICOM_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus of real DICOM at {folder}; set DICOM_CORPUS")
    return folder


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the synthetic sample studies that the project ships."""
    return ROOT / "sample_data"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog in a folder of its own."""
    from dicom_pipeline.catalog import Catalog

    made = Catalog(tmp_path / "catalog.sqlite")
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where DICOM_PIPELINE_NO_SKIP is set (CI), a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("DICOM_PIPELINE_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipping is forbidden here: {report.longrepr}"
    return report


SLOW_FIRST = (
    "tests/system/",
    "tests/test_docs.py",
    "tests/reporting/test_matrix.py",
    "tests/delivery/",
    "tests/encoders/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that no core waits for the other's last one."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW_FIRST))
