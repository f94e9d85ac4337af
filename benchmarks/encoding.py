"""Images per second of the encoder beside the plain Hugging Face loop, and as a share of the machine's matmul peak.

    python benchmarks/encoding.py [--model FOLDER] [--images 8] [--device auto]

Without --model a checkpoint of MedSigLIP's full size with random weights is made first (1.8 GB, in a temporary folder).
All in one run on one machine, so read the ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "sample_data"))

from make_full_size import make
from PIL import Image
from transformers import SiglipImageProcessorPil, SiglipModel
from transformers.utils import logging

from dicom_pipeline.encoders import encode_stream, load_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--device", default="auto")
    wishes = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        model = wishes.model or Path(folder) / "full"
        if wishes.model is None:
            make(model)
        compare(model, wishes.images, wishes.device, Path(folder))


def compare(folder: Path, count: int, device: str, scratch: Path) -> None:
    """Print the table."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 448, 448, 3), dtype=np.uint8)
    encoder = load_encoder(str(folder), device=device)
    kind, dtype = encoder.precision.split("-")
    flops = image_flops(folder)
    peaks = {name: matmul_peak(kind, getattr(torch, name)) for name in ("float32", "bfloat16")}
    print(
        f"{encoder.precision}, batch {encoder.batch_size}, {torch.get_num_threads()} threads, {flops / 1e9:.0f} GFLOP an image"
    )
    for name, peak in peaks.items():
        print(f"  matmul peak, {name}: {peak / 1e12:.3f} TFLOP/s")
    encoder.encode_images(pixels[: encoder.batch_size])
    ours = measured(lambda: encoder.encode_images(pixels), count)
    whole = measured(lambda: list(encode_stream(encoder, rendered(scratch, count))), count)
    size = encoder.batch_size
    encoder = None  # its memory goes before the peer's comes
    rows = [("this encoder", ours, dtype), ("decode, render and encode", whole, dtype)]
    for title, number_format, batch in (
        ("plain loop, float32, batch 1", "float32", 1),
        (f"plain loop, {dtype}, batch {size}", dtype, size),
    ):
        rows.append((title, plain(folder, pixels, kind, getattr(torch, number_format), batch), number_format))
    print("| way | images/s | against the plain float32 loop | share of its matmul peak |\n| --- | --- | --- | --- |")
    slow = rows[2][1]
    for title, seconds, number_format in rows:
        share = flops / seconds / peaks[number_format]
        print(f"| {title} | {1 / seconds:.2f} | {slow / seconds:.2f} x | {share:.0%} |")
    print(f"end to end / encoder alone: {whole / ours:.2f}")


def image_flops(folder: Path) -> float:
    """Multiply-adds of the vision tower, counted as two: projections, MLP and attention."""
    import json

    c = json.loads((folder / "config.json").read_text())["vision_config"]
    tokens, width, mlp = (c["image_size"] // c["patch_size"]) ** 2, c["hidden_size"], c["intermediate_size"]
    return float(c["num_hidden_layers"] * tokens * (8 * width**2 + 4 * width * mlp + 4 * tokens * width))


def matmul_peak(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of one large product, the best of five."""
    n = 8192 if device == "cuda" else 1536
    a, b = torch.ones(n, n, dtype=dtype, device=device), torch.ones(n, n, dtype=dtype, device=device)
    a @ b
    best = float("inf")
    for _ in range(5):
        synchronise()
        start = time.perf_counter()
        a @ b
        synchronise()
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def plain(folder: Path, pixels: np.ndarray, device: str, dtype: torch.dtype, batch: int) -> float:
    """Seconds an image of the loop that the model card shows: processor, model, no more."""
    model = SiglipModel.from_pretrained(folder, dtype=dtype).eval().to(device)
    processor = SiglipImageProcessorPil.from_pretrained(folder)

    def run() -> None:
        for start in range(0, len(pixels), batch):
            images = [Image.fromarray(image) for image in pixels[start : start + batch]]
            values = processor(images=images, return_tensors="pt")["pixel_values"].to(device, dtype)
            with torch.no_grad():
                output = model.get_image_features(pixel_values=values)
            (output if isinstance(output, torch.Tensor) else output.pooler_output).cpu()

    return measured(run, len(pixels))


def rendered(scratch: Path, count: int):
    """(index, rendering) of 512 x 512 CT files, decoded and rendered ahead by two threads as the pipeline does."""
    from collections import deque
    from concurrent.futures import ThreadPoolExecutor

    from rendering import write

    from dicom_pipeline.domain import Frame, FrameKey
    from dicom_pipeline.imaging import SeriesRenderer, load_preset

    path = write(scratch / "ct.dcm", 512, 512, "CT")
    renderer = SeriesRenderer(load_preset("ct-medgemma-report"))
    with ThreadPoolExecutor(2) as pool:
        ahead: deque = deque()
        for index in range(count):
            ahead.append((index, pool.submit(renderer.render, Frame(FrameKey("1"), path, "1"))))
            if len(ahead) > 8:
                number, future = ahead.popleft()
                yield number, future.result().pixels
        while ahead:
            number, future = ahead.popleft()
            yield number, future.result().pixels


def measured(run: Callable[[], object], count: int) -> float:
    synchronise()
    start = time.perf_counter()
    run()
    synchronise()
    return (time.perf_counter() - start) / count


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
