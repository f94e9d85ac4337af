"""What computes: the versions of the libraries that decode and compute, and a build identity of our own code.

Both are part of the recipe, so that a report made by other software has another fingerprint, even between two commits of
one version. Neither depends on the machine: not on its memory, its cores, or where the package lies.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib import resources
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

LIBRARIES = (
    # read and decode
    "pydicom",
    "python-gdcm",
    "pyjpegls",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "imagecodecs",
    # render and compute
    "numpy",
    "pillow",
    "torch",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "safetensors",
    # write reports and their companions
    "highdicom",
    "reportlab",
)
"""Distributions whose other version may give another number or byte."""

ABSENT = "absent"


@functools.cache
def library_versions() -> tuple[tuple[str, str], ...]:
    """(name, version) of Python and of each of LIBRARIES; "absent" for one that is not installed."""
    return (("python", platform.python_version()), *((name, _version(name)) for name in LIBRARIES))


@functools.cache
def build_identity() -> str:
    """The digest of the installed package, computed once a process; see `digest_of_package`."""
    return digest_of_package(Path(str(resources.files("dicom_pipeline"))))


def digest_of_package(folder: Path) -> str:
    """Sha256 (hex) over the relative paths and bytes of a package's source and data files.

    What Python and tools leave beside them (caches, compiled and hidden files) does not count, so an editable checkout and
    a wheel installed from it have the same digest.
    """
    total = hashlib.sha256()
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(files, key=lambda path: path.as_posix()):
        if name.suffix == ".pyc" or any(part == "__pycache__" or part.startswith(".") for part in name.parts):
            continue
        with files[name].open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        total.update(hashlib.sha256(name.as_posix().encode()).digest() + content)
    return total.hexdigest()


def distribution_of(kind: type) -> str:
    """Name and version of the distribution that holds a class, such as an encoder of others; "" for ours or none."""
    package = kind.__module__.partition(".")[0]
    if package == "dicom_pipeline":
        return ""
    return "; ".join(f"{name} {version(name)}" for name in sorted(set(packages_distributions().get(package, ()))))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ABSENT
