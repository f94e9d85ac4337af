"""Object code of the loops as a kernel. Loading it takes llvmlite and some milliseconds.

A kernel is compared with numpy's on a probe before it is returned: processors and compilers come and go.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import IMAGE_SIZE, digest_of
from dicom_pipeline.imaging.kernels import loops
from dicom_pipeline.imaging.kernels.kernel import Kernel, KernelError, NumpyKernel
from dicom_pipeline.imaging.resize import Taps, taps

PROBE_SHAPE = 37, 521
"""Rows and columns of the probe: one axis grows and one shrinks, with padding around the first."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_ssize_t
_LOOP = ctypes.CFUNCTYPE(  # a call through it lets other threads run
    None, _POINTER, _SIZE, _POINTER, *[_POINTER] * 7, _SIZE, _POINTER, _POINTER
)  # fmt: skip

Loop = Callable[..., None]


class CompiledKernel:
    """The compiled loops, by type of the stored values and number of planes. keep: what must live as long as they do."""

    name = "numba"

    def __init__(self, found: Mapping[tuple[str, int], Loop], keep: object = None) -> None:
        self._loops = found
        self._keep = keep

    def table(self, levels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint32], int]:
        """Uint32 (2 ** bits,), all planes of a stored value in one entry, so that they cost one lookup; number of planes."""
        entries = np.zeros(len(levels), np.uint32)
        for plane, channel in enumerate(levels.T):
            entries |= channel.astype(np.uint32) << np.uint32(8 * plane)
        return entries, levels.shape[1]

    def render(
        self,
        values: npt.NDArray[np.unsignedinteger[Any]],
        table: tuple[npt.NDArray[np.uint32], int],
        rows: Taps,
        columns: Taps,
    ) -> npt.NDArray[np.uint8]:
        """As Kernel says. Raises ValueError where table and taps do not fit the values: the loops check nothing."""
        entries, planes = table
        if len(entries) <= np.iinfo(values.dtype).max:
            raise ValueError(f"expected a table for {values.dtype}, found one of {len(entries)} entries")
        if rows.needed.max() >= values.shape[0] or columns.needed.max() >= values.shape[1]:
            raise ValueError(f"expected taps within {values.shape[0]} rows and {values.shape[1]} columns")
        made = np.empty((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        lines = np.empty((2, IMAGE_SIZE * planes), np.float32)
        values = np.require(values, requirements=["C", "ALIGNED"])
        left, right = columns.needed[columns.lower], columns.needed[columns.upper]
        arrays = (rows.needed, rows.lower, rows.upper, rows.weight, left, right, columns.weight)
        self._loops[str(values.dtype), planes](
            values.ctypes.data, values.shape[1], entries.ctypes.data, *(a.ctypes.data for a in arrays),
            IMAGE_SIZE, lines.ctypes.data, made.ctypes.data,
        )  # fmt: skip
        return made


def code_identity() -> str:
    """What the object code depends on, as a name for its file. Raises KernelError where numba is not installed."""
    try:
        libraries = [[name, version(name)] for name in ("numba", "llvmlite", "numpy")]
        from llvmlite import binding
    except (PackageNotFoundError, ImportError) as error:
        raise KernelError("numba is not installed; pip install 'dicom-pipeline[fast]'") from error
    source = hashlib.sha256(Path(loops.__file__).read_bytes()).hexdigest()
    processor = [binding.get_default_triple(), binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]
    return digest_of([source, libraries, processor])[:32]


def load_kernel(code: bytes) -> CompiledKernel:
    """The kernel of an object file. Raises KernelError where it is none of these loops, or gives other bytes than numpy.

    code: as it was written; LLVM checks nothing and ends the process over a damaged file.
    """
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), loops.target_machine(binding))
    try:
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
    except RuntimeError as error:
        raise KernelError("the compiled code cannot be read") from error
    found = {}
    for word in loops.WORDS:
        for planes in loops.PLANES:
            address = engine.get_function_address(loops.symbol(word, planes))
            if not address:
                raise KernelError(f"the compiled code has no {loops.symbol(word, planes)}")
            found[word, planes] = _LOOP(address)
    kernel = CompiledKernel(found, engine)
    _check(kernel)
    return kernel


def _check(kernel: Kernel) -> None:
    """Raise KernelError where a kernel and numpy differ in a byte of a probe."""
    random = np.random.default_rng(0)
    rows, columns = (taps(length, max(PROBE_SHAPE)) for length in PROBE_SHAPE)
    reference = NumpyKernel()
    for word in loops.WORDS:
        most = np.iinfo(word).max
        values = random.integers(0, most, PROBE_SHAPE, word, endpoint=True)
        for planes in loops.PLANES:
            levels = random.integers(0, 255, (most + 1, planes), np.uint8, endpoint=True)
            made, expected = (k.render(values, k.table(levels), rows, columns) for k in (kernel, reference))
            if not np.array_equal(made, expected):
                raise KernelError(f"{kernel.name} and numpy differ in {int((made != expected).sum())} bytes of a probe")
