"""How a render process comes by its kernel: compiled loops from a folder, compiled there by the first that needs them.

Without them it renders with numpy, more slowly and to the same bytes: nothing that goes wrong here costs a frame.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from dicom_pipeline.config import RenderingSection
from dicom_pipeline.disk import cache_folder
from dicom_pipeline.imaging.kernels import Kernel, KernelError, NumpyKernel
from dicom_pipeline.imaging.kernels.compiled import code_identity, load_kernel

log = logging.getLogger(__name__)

COMPILER = "dicom_pipeline.imaging.kernels.loops"
COMPILE_SECONDS = 90.0
"""Compiling takes some 3 s; a process that waits longer for another one's code renders with numpy."""

OTHERS_MAY_WRITE = 0o022
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """compiled: loops compiled by numba, where it is installed; else numpy. folder: for their code, None for the user's."""

    compiled: bool = True
    folder: Path | None = None

    @classmethod
    def from_settings(cls, section: RenderingSection) -> KernelChoice:
        """As the settings say."""
        return cls(section.kernel == "auto", section.kernel_folder)


def code_folders(choice: KernelChoice, stack: ExitStack) -> tuple[Path, ...]:
    """Folders in which render processes look for compiled code; the last one is for what they compile. None: numpy.

    Code from a folder that others may write would be theirs; a private folder then takes its place, for as long as the stack
    is open, and also where the folder cannot be written.
    """
    if not choice.compiled:
        return ()
    if find_spec("numba") is None:
        log.info(
            "rendering with numpy: pip install 'dicom-pipeline[fast]' makes the same bytes in a fraction of the time"
        )
        return ()
    folder = choice.folder or cache_folder("kernels")
    problem, trusted = _problem(folder)
    if not problem:
        return (folder,)
    try:
        private = stack.enter_context(tempfile.TemporaryDirectory(prefix="dicom-pipeline-kernels-"))
    except OSError as error:
        log.warning("compiled code cannot be kept in %s (%s) nor elsewhere (%s)", folder, problem, error.strerror)
        return (folder,) if trusted else ()
    log.warning("compiled code cannot be kept in %s (%s); compiling at each start if it is not there", folder, problem)
    return (folder, Path(private)) if trusted else (Path(private),)


def _problem(folder: Path) -> tuple[str, bool]:
    """Why code cannot be kept in a folder, "" where it can; and whether code that is there can be trusted."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        return error.strerror or type(error).__name__, False
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & OTHERS_MAY_WRITE:
        return "others may write it", False
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or type(error).__name__, True
    return "", True


def kernel_from(folders: Sequence[Path]) -> tuple[Kernel, str]:
    """The kernel for a render process; and why it is numpy's, where there were folders for another."""
    if not folders:
        return NumpyKernel(), ""
    try:
        return load_kernel(_code(folders)), ""
    except KernelError as error:
        return NumpyKernel(), str(error)
    except (OSError, subprocess.SubprocessError, RuntimeError, ImportError) as error:  # RuntimeError: LLVM's
        return NumpyKernel(), f"{type(error).__name__} while compiled loops were loaded from {folders[-1]}"


def _code(folders: Sequence[Path]) -> bytes:
    name = f"{code_identity()}.loops"
    for folder in folders:
        if (code := _read(folder / name)) is not None:
            return code
    path = folders[-1] / name
    with FileLock(path.with_suffix(".lock"), timeout=COMPILE_SECONDS):
        code = _read(path)  # whoever held the lock has compiled it
        return _compiled(path) if code is None else code


def _read(path: Path) -> bytes | None:
    """The code in a file; None where it is not there or damaged, which LLVM would not survive."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _compiled(path: Path) -> bytes:
    """The code, compiled by a process of its own and put into a file at once. Raises KernelError."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        output, whole = Path(folder) / "loops.o", Path(folder) / path.name
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", COMPILER, output],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMPILE_SECONDS,
            check=False,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise KernelError(f"compiling the loops ended with {done.returncode}: {last}")
        code = output.read_bytes()
        whole.write_bytes(hashlib.sha256(code).digest() + code)
        whole.replace(path)
    return code
