"""What one GPU does with an encoder of MedSigLIP's full size: is it right, how fast, and how near to the card's peak.

    python benchmarks/gpu.py [--model FOLDER] [--device cuda] [--images 512] [--out gpu.json]

benchmarks/gpu.sh runs it with the rest. Knows no DICOM: torch, transformers, safetensors and sentencepiece are enough. Without
--model a checkpoint with random weights is made (1.8 GB). Everything is measured in one run beside its peer: the plain
Hugging Face loop in the same number format and batch.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoding import image_flops, make, matmul_peak, measured, plain, synchronise

from dicom_pipeline.encoders import load_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or Path(scratch) / "full"
        if given.model is None:
            make(folder)
        result = measure(folder, given.device, given.images)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, device: str, images: int) -> dict[str, Any]:
    """All numbers; rates in images a second."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 448, 448, 3), dtype=np.uint8)
    reference = load_encoder(str(folder), device="cpu", dtype="float32", batch_size=1).encode_images(pixels[:2])
    encoder = load_encoder(str(folder), device=device)
    kind, number_format = encoder.precision.split("-")
    result: dict[str, Any] = {"device": card(kind), "torch": torch.__version__, "precision": encoder.precision}
    result |= {"batch": encoder.batch_size, **correctness(encoder, pixels, reference)}
    peak = matmul_peak(kind, getattr(torch, number_format))
    flops = image_flops(folder)
    encoder.encode_images(pixels[: encoder.batch_size])
    ours = 1 / measured(lambda: encoder.encode_images(pixels), images)
    result |= {"matmul_peak_tflops": peak / 1e12, "gflop_an_image": flops / 1e9}
    result |= {"encoder": ours, "encoder_share_of_peak": ours * flops / peak}
    result["seconds_of_a_batch"] = parts_of_a_batch(encoder, pixels[: encoder.batch_size])
    if kind == "cuda":
        result["kernels"] = kernels(encoder, pixels[: encoder.batch_size])
        result["compiled"] = compiled_rate(encoder, pixels)
    batch = encoder.batch_size
    encoder = None  # its memory goes before the peer's comes
    result["plain_loop"] = 1 / plain(folder, pixels, kind, getattr(torch, number_format), batch)
    result["against_plain_loop"] = ours / result["plain_loop"]
    return result


def card(kind: str) -> dict[str, Any]:
    """The device by name."""
    if kind != "cuda":
        return {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    found = torch.cuda.get_device_properties(0)
    return {"name": found.name, "memory_gib": round(found.total_memory / 2**30, 1), "cuda": torch.version.cuda}


def correctness(encoder: Any, pixels: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Cosine with float32 on the CPU, and whether an image's bits depend on what else is in its batch."""
    made = encoder.encode_images(pixels[: len(reference)])
    cosines = (made * reference).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(reference, axis=1)
    alone = np.concatenate([encoder.encode_images(pixels[n : n + 1]) for n in range(2)])
    among = encoder.encode_images(pixels[: min(len(pixels), encoder.batch_size)])[:2]
    return {"least_cosine_with_float32": float(cosines.min()), "batch_invariant": bool((alone == among).all())}


def parts_of_a_batch(encoder: Any, pixels: np.ndarray) -> dict[str, float]:
    """Where the time of one batch goes: stacking and upload, the model, the way back."""
    values: Any = None

    def timed(run: Any) -> float:
        synchronise()
        start = time.perf_counter()
        run()
        synchronise()
        return time.perf_counter() - start

    def upload() -> None:
        nonlocal values
        values = torch.from_numpy(np.ascontiguousarray(pixels)).to(encoder._device).permute(0, 3, 1, 2)
        values = ((values.to(torch.float32) / 255 - 0.5) / 0.5).to(encoder._dtype)

    output: Any = None

    def forward() -> None:
        nonlocal output
        with torch.inference_mode():
            output = encoder._model.get_image_features(pixel_values=values.contiguous())

    def back() -> None:
        tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
        tensor.float().cpu().numpy()

    for run in (upload, forward, back):
        run()
    return {run.__name__: timed(run) for run in (upload, forward, back)}


def kernels(encoder: Any, pixels: np.ndarray) -> dict[str, float]:
    """The ten kernels that take the most time of a batch, in ms: is attention the flash kernel at a head dimension of 72?"""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        encoder.encode_images(pixels)
        synchronise()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        times[event.key[:120]] += event.self_device_time_total / 1000
    return {name: round(value, 2) for name, value in times.most_common(10)}


def compiled_rate(encoder: Any, pixels: np.ndarray) -> dict[str, Any]:
    """What torch.compile of the vision tower would give; it changes bits, so it would need a name in the Recipe."""
    before = encoder.encode_images(pixels[: encoder.batch_size])
    eager = encoder._model.vision_model
    start = time.perf_counter()
    try:
        encoder._model.vision_model = torch.compile(eager, dynamic=False)
        after = encoder.encode_images(pixels[: encoder.batch_size])
        seconds = time.perf_counter() - start
        rate = 1 / measured(lambda: encoder.encode_images(pixels), len(pixels))
    except RuntimeError as error:  # no compiler for Triton on the machine, and the like
        return {"error": type(error).__name__}
    finally:
        encoder._model.vision_model = eager
    return {"rate": rate, "compile_seconds": seconds, "same_bits": bool((before == after).all())}


if __name__ == "__main__":
    main()
