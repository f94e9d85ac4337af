"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
