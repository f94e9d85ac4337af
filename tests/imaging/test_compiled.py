"""The compiled loops: their bytes are numpy's, and what is not is found before it is used."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.imaging import resize
from dicom_pipeline.imaging.kernels import KernelError, NumpyKernel, compiled, loops
from dicom_pipeline.imaging.kernels.compiled import CompiledKernel, load_kernel
from dicom_pipeline.imaging.presets import GEOMETRIES

LENGTHS = st.one_of(st.integers(1, 1000), st.sampled_from([447, 448, 449, 896, 897]))


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(LENGTHS, LENGTHS),
    word=st.sampled_from([np.uint8, np.uint16]),
    planes=st.sampled_from([1, 3]),
    geometry=st.sampled_from(GEOMETRIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_their_bytes_are_those_of_numpy(compiled_kernel, shape, word, planes, geometry, seed):
    """Over tables without any order, whose neighbouring values differ most."""
    random = np.random.default_rng(seed)
    values = random.integers(0, np.iinfo(word).max, shape, word, endpoint=True)
    levels = random.integers(0, 255, (np.iinfo(word).max + 1, planes), np.uint8, endpoint=True)
    padded = resize.padded_shape(*shape, geometry)
    rows, columns = (resize.taps(length, whole) for length, whole in zip(shape, padded, strict=True))
    made, expected = (
        kernel.render(values, kernel.table(levels), rows, columns) for kernel in (compiled_kernel, NumpyKernel())
    )
    np.testing.assert_array_equal(made, expected)


def test_what_would_be_read_outside_of_an_array_is_refused(compiled_kernel):
    short, enough = (compiled_kernel.table(np.zeros((count, 1), np.uint8)) for count in (256, 65536))
    axis, longer = resize.taps(8, 8), resize.taps(9, 9)
    values = np.zeros((8, 8), np.uint16)
    with pytest.raises(ValueError, match="expected a table for uint16, found one of 256 entries"):
        compiled_kernel.render(values, short, axis, axis)
    for taps in ((axis, longer), (longer, axis)):
        with pytest.raises(ValueError, match="expected taps within 8 rows and 8 columns"):
            compiled_kernel.render(values, enough, *taps)


def test_other_bytes_than_those_of_numpy_are_found_before_it_is_used(object_code, compiled_kernel, monkeypatch):
    """As of a compiler that fuses a multiplication with an addition: some bytes differ by one."""
    loop = compiled_kernel._loops["uint16", 3]

    def off_by_one(*arguments):
        loop(*arguments)
        compiled.ctypes.c_uint8.from_address(arguments[-1] + 300_000).value ^= 1

    monkeypatch.setattr(compiled, "CompiledKernel", lambda found, engine: CompiledKernel(
        {**found, ("uint16", 3): off_by_one}, engine
    ))  # fmt: skip
    with pytest.raises(KernelError, match="numba and numpy differ in 1 bytes of a probe"):
        load_kernel(object_code)


def test_code_of_something_else_is_refused(object_code, monkeypatch):
    monkeypatch.setattr(loops, "symbol", lambda word, planes: f"no_{word}_{planes}")
    with pytest.raises(KernelError, match="the compiled code has no no_uint8_1"):
        load_kernel(object_code)


def test_numba_that_is_not_installed_is_said(monkeypatch):
    def version(name: str) -> str:
        raise compiled.PackageNotFoundError(name)

    monkeypatch.setattr(compiled, "version", version)
    with pytest.raises(KernelError, match=r"numba is not installed; pip install 'dicom-pipeline\[fast\]'"):
        compiled.code_identity()


def test_another_version_of_numba_is_another_identity(monkeypatch, object_code):
    before = compiled.code_identity()
    assert compiled.code_identity() == before
    monkeypatch.setattr(compiled, "version", lambda name: "9.9")
    assert compiled.code_identity() != before


def test_rendering_loads_neither_numba_nor_llvm():
    code = (
        "import sys, dicom_pipeline.imaging.render, dicom_pipeline.imaging.kernels.compiled\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
