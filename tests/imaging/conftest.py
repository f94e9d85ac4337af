"""The compiled kernel, which tests of this room share: compiling it takes seconds."""

import pytest


@pytest.fixture(scope="session")
def object_code() -> bytes:
    pytest.importorskip("numba", reason="numba is not installed (extra fast)")
    from dicom_pipeline.imaging.kernels.loops import compile_loops

    return compile_loops()


@pytest.fixture(scope="session")
def compiled_kernel(object_code):
    from dicom_pipeline.imaging.kernels.compiled import load_kernel

    return load_kernel(object_code)
