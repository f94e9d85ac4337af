"""Device, number format and batch: CUDA with bfloat16 where there is one; on a CPU bfloat16 where it has units for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dicom_pipeline.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

BATCH = {"cpu": 2, "cuda": 64}
"""Images at once. One image already fills a CPU's caches (1,024 tokens), and larger batches were measured slower there."""


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
    return chosen, torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32


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


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has matrix units for bfloat16 (AMX), which were measured 3.6 times and more faster than float32.

    Asked of the CPU, not of a stopwatch: the number format is part of the fingerprint, and what else the machine does must
    not choose it. Without an answer (torch before 2.9) float32 is used.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
