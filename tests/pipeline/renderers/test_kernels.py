"""What render processes render with: compiled loops where they can be had, numpy where not, and the same bytes."""

import hashlib
import logging
import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from dicom_pipeline.config import RenderingSection
from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.kernels.compiled import code_identity
from dicom_pipeline.pipeline.renderers import KernelChoice, Renderers, dispatcher, kernels
from dicom_pipeline.pipeline.renderers.kernels import code_folders, kernel_from
from tests.imaging.made import instance, write

PRESET = load_preset("ct-medgemma-report")
NOWHERE = Path("/proc/dicom-pipeline/kernels")
"""A folder that nobody can make, the superuser included."""

pytest.importorskip("numba", reason="numba is not installed (extra fast)")


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> list[Frame]:
    folder, random = tmp_path_factory.mktemp("frames"), np.random.default_rng(3)
    made = [instance(random.integers(0, 4096, (90 + n, 120), np.uint16), Modality="CT") for n in range(6)]
    return [Frame(FrameKey(f"1.{n}"), write(each, folder), "1.3") for n, each in enumerate(made)]


@pytest.fixture(scope="module")
def code_folder(tmp_path_factory) -> Path:
    """A folder that has the code."""
    folder = tmp_path_factory.mktemp("kernels")
    assert kernel_from([folder])[0].name == "numba"
    return folder


def assert_renders(renderers: Renderers, frames: list[Frame], kernel: str) -> None:
    here, there = SeriesRenderer(PRESET), renderers.series(PRESET, ())
    made = [there.submit(frame) for frame in frames]
    for frame, future in zip(frames, made, strict=True):
        assert np.array_equal(future.result(120).pixels, here.render(frame).pixels)
    assert renderers.kernel == kernel


def test_two_processes_share_code_that_was_compiled_once(tmp_path, frames, caplog):
    for _ in range(2):
        with Renderers(2, kernel=KernelChoice(folder=tmp_path / "new")) as renderers:
            assert_renders(renderers, frames * 4, "numba")
            assert renderers.ended == {}
        (code,) = (tmp_path / "new").glob("*.loops")
        assert code.name == f"{code_identity()}.loops"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert not caplog.records


def test_whoever_comes_while_it_is_compiled_waits_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNT_COMPILATIONS_IN", str(tmp_path / "count"))
    monkeypatch.setattr(kernels, "COMPILER", "tests.pipeline.renderers.counting_compiler")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    made = []
    threads = [threading.Thread(target=lambda: made.append(kernel_from([tmp_path]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [(kernel.name, problem) for kernel, problem in made] == [("numba", "")] * 3
    assert (tmp_path / "count").read_text() == "x"


def test_a_folder_that_cannot_be_written_is_done_without(frames, caplog):
    with Renderers(2, kernel=KernelChoice(folder=NOWHERE)) as renderers:
        assert_renders(renderers, frames, "numba")
        (private,) = renderers._dispatcher._kernel_folders
        assert private.is_dir()
    assert not private.exists()
    (record,) = caplog.records
    assert f"compiled code cannot be kept in {NOWHERE} (No such file or directory)" in record.getMessage()


def test_code_in_a_folder_that_can_only_be_read_is_used(code_folder, monkeypatch):
    """As in a container image that has rendered once while it was built."""
    monkeypatch.setattr(kernels.tempfile, "TemporaryFile", read_only)
    with ExitStack() as stack:
        folders = code_folders(KernelChoice(folder=code_folder), stack)
        assert folders[0] == code_folder
        assert kernel_from(folders)[0].name == "numba"
        assert not list(folders[1].iterdir())


def read_only(**_):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_code_in_a_folder_that_others_may_write_is_not_used(tmp_path, mode, caplog):
    tmp_path.chmod(mode)
    with ExitStack() as stack:
        (private,) = code_folders(KernelChoice(folder=tmp_path), stack)
        assert private != tmp_path
        assert private.stat().st_mode & 0o077 == 0
    assert f"cannot be kept in {tmp_path} (others may write it)" in caplog.text


def test_without_any_folder_it_is_numpy(monkeypatch, caplog):
    monkeypatch.setattr(kernels.tempfile, "TemporaryDirectory", read_only)
    with ExitStack() as stack:
        assert code_folders(KernelChoice(folder=NOWHERE), stack) == ()
    assert "nor elsewhere (Read-only file system)" in caplog.text


def test_numba_that_cannot_be_imported_is_done_without(tmp_path, frames, monkeypatch, caplog):
    """As one that does not fit the installed numpy; said once, whatever the number of processes."""
    broken = tmp_path / "broken" / "numba"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('Numba needs NumPy 1.9 or less')")
    monkeypatch.syspath_prepend(broken.parent)
    with Renderers(2, kernel=KernelChoice(folder=tmp_path / "new")) as renderers:
        assert_renders(renderers, frames, "numpy")
        assert renderers.ended == {}
    (record,) = caplog.records
    assert record.getMessage() == (
        "rendering with numpy, more slowly and to the same bytes: compiling the loops ended with 1: "
        "ImportError: Numba needs NumPy 1.9 or less"
    )


def test_numba_that_is_not_installed_is_no_warning(frames, monkeypatch, caplog):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO), Renderers(1) as renderers:
        assert_renders(renderers, frames[:2], "numpy")
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "pip install 'dicom-pipeline[fast]'" in record.getMessage()


def test_a_compiler_that_dies_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "COMPILER", "tests.pipeline.renderers.aborting_compiler")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    kernel, problem = kernel_from([tmp_path])
    assert kernel.name == "numpy"
    assert problem.startswith("compiling the loops ended with -6")


def test_damaged_code_is_compiled_anew(code_folder, tmp_path):
    (code,) = code_folder.glob("*.loops")
    content = code.read_bytes()
    copy = tmp_path / code.name
    for damaged in (content[:20], b"", content[:500] + bytes([content[500] ^ 1]) + content[501:], content[:-1000]):
        copy.write_bytes(damaged)
        assert kernels._read(copy) is None
    kernel, problem = kernel_from([tmp_path])
    assert (kernel.name, problem) == ("numba", "")
    assert kernels._read(copy) is not None


def test_code_that_ends_its_process_is_done_without(tmp_path, frames, monkeypatch, caplog):
    """LLVM does not survive half an object file."""
    monkeypatch.setattr(dispatcher, "FIRST_START_SECONDS", 0.05)
    whole = code_of(tmp_path)
    half = whole.read_bytes()[kernels.DIGEST_BYTES :][:3000]
    whole.write_bytes(hashlib.sha256(half).digest() + half)
    with Renderers(1, kernel=KernelChoice(folder=tmp_path)) as renderers:
        assert_renders(renderers, frames, "numpy")
        assert renderers.ended == {"SIGSEGV": dispatcher.MAX_FAILED_STARTS_WITH_LOOPS}
    assert f"rendering with numpy from now on: a process ended while it loaded what is in {tmp_path}" in caplog.text


def code_of(folder: Path) -> Path:
    kernel_from([folder])
    return folder / f"{code_identity()}.loops"


@pytest.mark.parametrize("kernel", ["numba", "numpy"])
def test_the_settings_choose(kernel, code_folder, frames):
    section = RenderingSection(processes=1, kernel="auto" if kernel == "numba" else "numpy", kernel_folder=code_folder)
    with Renderers.from_settings(section) as renderers:
        assert renderers.kernel == ""
        assert_renders(renderers, frames[:2], kernel)
