"""Device, number format and batch: CUDA with bfloat16 where there is one; on a CPU bfloat16 where it has units for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dicom_pipeline.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

BATCH = {"cpu": 2, "cuda": 64}
"""Images at once. One image already fills a CPU's caches (1,024 tokens), and larger batches were measured slower there."""

MEMORY_PER_IMAGE = 128 * 1024**2
"""Bytes of a GPU's memory for each image of MedSigLIP, reckoned from the sizes of its layers: 8 GiB in all give 64."""


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


def choose_batch(device: torch.device, requested: int | None, run: Callable[[int], object]) -> int:
    """Images at once: `requested`, or what the kind of device gives.

    The number is part of the fingerprint, so it depends on the device, never on what memory happens to be free: `run(number)`
    is tried once on a GPU, and ModelError says what to do where it does not fit.
    """
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    size = requested or usual_batch(device.type, memory)
    if device.type == "cuda":
        try:
            run(size)
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"{device} has too little free memory for {size} images at once; free some of it, or set encoder.batch_size "
                "to a smaller number (which gives other last digits and so another fingerprint)"
            ) from error
    return size


def usual_batch(kind: str, memory: int | None) -> int:
    """Images at once on a kind of device ("cpu", "cuda") with so many bytes of memory in all; a power of two."""
    most = BATCH.get(kind, 8)
    if memory is None:
        return most
    fitting = max(1, memory // MEMORY_PER_IMAGE)
    return min(most, 1 << (fitting.bit_length() - 1))


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has matrix units for bfloat16 (AMX), which were measured 3.6 times and more faster than float32.

    Asked of the CPU, not of a stopwatch: the number format is part of the fingerprint, and what else the machine does must
    not choose it. Without an answer (torch before 2.9) float32 is used.
    """
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
