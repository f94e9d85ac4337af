"""Device, number format and batch: CUDA with bfloat16 where there is one; on the CPU what a short measurement shows faster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch

from dicom_pipeline.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

BATCH = {"cpu": 2, "cuda": 64}
"""Images at once. One image already fills a CPU's caches (1,024 tokens), and larger batches were measured slower there."""

GAIN = 1.5
"""bfloat16 must be this much faster on a CPU to be worth its rounding."""

ROUNDS = 15
"""Measurements of each format: some of them fall between two turns of other programs."""


def choose_precision(device: str = "auto", dtype: str = "auto") -> tuple[torch.device, torch.dtype]:
    """Device and dtype for the wishes. Raises ModelError for a device that is not there or an unknown dtype."""
    if device == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            chosen = torch.device(device)
            torch.empty(1, device=chosen)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f'there is no device {device!r} on this machine; try encoder.device = "auto"') from error
    if dtype != "auto":
        if dtype not in DTYPES:
            raise ModelError(f"no number format {dtype!r}; expected auto, {', '.join(DTYPES)}")
        return chosen, DTYPES[dtype]
    if chosen.type == "cuda":
        return chosen, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return chosen, torch.bfloat16 if cpu_bfloat16_gain() >= GAIN else torch.float32


def choose_batch(device: torch.device, wanted: int | None, run: Callable[[int], object]) -> int:
    """Images at once: `wanted`, or the device's usual number; on a GPU halved until `run(number)` fits its memory."""
    size = wanted or BATCH.get(device.type, 8)
    while device.type == "cuda":
        try:
            run(size)
            break
        except torch.cuda.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
    return size


@functools.cache
def cpu_bfloat16_gain() -> float:
    """How many times faster this CPU multiplies bfloat16 than float32 matrices of the size of MedSigLIP's MLP."""
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    factors = {d: (torch.ones(256, 1152, dtype=d), torch.ones(1152, 4304, dtype=d)) for d in seconds}
    for _ in range(ROUNDS):  # in turns, and the best of each, as what else the machine does must not choose
        for dtype, (left, right) in factors.items():
            start = time.perf_counter()
            left @ right
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]
