"""The kernel as loops, and their object code for this processor by numba (extra `fast`).

    python -m dicom_pipeline.imaging.kernels.loops FILE

writes the object code to a file. Compiling takes seconds and loading what was compiled takes milliseconds, without numba; so
this runs once a machine, in a process of its own. The loops do the float32 operations of `look_up_and_interpolate` in its
order. Without fastmath LLVM keeps that order and fuses no multiplication with an addition, so the bytes are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PLANES = (1, 3)
"""Channels of a table: grey or RGB."""

WORDS = ("uint8", "uint16")
"""Types of stored values; those with a sign are read by their bits."""


def symbol(word: str, planes: int) -> str:
    """Name of a loop in the object code."""
    return f"render_{word}_{planes}"


def compile_loops() -> bytes:
    """An object file with a C function for each word and number of planes. Raises ImportError, or what numba raises."""
    import numba
    from llvmlite import binding
    from numba import types

    pointer: Any = types.CPointer
    index, weight = pointer(types.intp), pointer(types.float32)
    module = None
    for word in WORDS:
        for planes in PLANES:
            signature = types.void(
                pointer(getattr(types, word)), types.intp, pointer(types.uint32),
                index, index, index, weight, index, index, weight, types.intp,
                weight, pointer(types.uint8),
            )  # fmt: skip
            compiled = numba.cfunc(signature)(_loop_of(planes))
            part = binding.parse_assembly(compiled.inspect_llvm())
            part.get_function(compiled.native_name).name = symbol(word, planes)
            if module is None:
                module = part
            else:
                module.link_in(part)
    assert module is not None
    return target_machine(binding).emit_object(module)


def target_machine(binding: Any) -> Any:
    """This processor, with all that it can. binding: llvmlite's; it optimises what numba has not yet."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3, jit=True
    )


def _loop_of(planes: int) -> Callable[..., None]:
    """The loop for tables of so many planes, as numba compiles it: pointers, whole numbers, nothing that could fail."""

    def loop(
        values: Any, stride: Any, entries: Any, read_rows: Any, lower: Any, upper: Any, down: Any,
        left: Any, right: Any, along: Any, size: Any, lines: Any, made: Any,
    ) -> None:  # fmt: skip
        """Fill `made`, uint8 (size, size, 3).

        values: (rows, stride); entries: uint32, the planes of a stored value in one; read_rows: source row of each index in
        lower and upper; left, right: source columns; below 0 is padding, which is black. lines: float32 (2, size * planes)
        for the last two source rows that were looked up: output rows share them.
        """
        width = size * planes
        held_even = held_odd = -1
        for y in range(size):
            for which in range(2):
                row = upper[y] if which else lower[y]
                odd = row & 1
                if (held_odd if odd else held_even) == row:
                    continue
                if odd:
                    held_odd = row
                else:
                    held_even = row
                line = odd * width
                if read_rows[row] < 0:
                    for at in range(width):
                        lines[line + at] = np.float32(0)
                    continue
                source = read_rows[row] * stride
                for x in range(size):
                    first = entries[values[source + left[x]]] if left[x] >= 0 else np.uint32(0)
                    second = entries[values[source + right[x]]] if right[x] >= 0 else np.uint32(0)
                    for plane in range(planes):
                        shift = np.uint32(8 * plane)
                        start = np.float32((first >> shift) & np.uint32(255))
                        end = np.float32((second >> shift) & np.uint32(255))
                        lines[line + x * planes + plane] = start + (end - start) * along[x]
            top, bottom, weight = (lower[y] & 1) * width, (upper[y] & 1) * width, down[y]
            out = y * size * 3
            for at in range(width):
                level = np.uint8(lines[top + at] + (lines[bottom + at] - lines[top + at]) * weight)
                if planes == 3:
                    made[out + at] = level
                else:
                    made[out + 3 * at] = made[out + 3 * at + 1] = made[out + 3 * at + 2] = level

    return loop


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(compile_loops())
