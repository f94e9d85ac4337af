"""CPU time of a slice: our fast path by compiled loops and by numpy, the plain path, the model card's way.

    python benchmarks/rendering.py [--repeat 60]

All in one run on the same synthetic files, beside reading and decoding alone, so read the ratios. Compiled loops need the
extra `fast`; the bytes of both are compared first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.frames import decode, image_file
from dicom_pipeline.imaging.kernels import Kernel
from dicom_pipeline.imaging.kernels.compiled import load_kernel
from dicom_pipeline.imaging.kernels.loops import compile_loops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=60)
    repeat = parser.parse_args().repeat
    began = time.perf_counter()
    code = compile_loops()
    compiled = time.perf_counter()
    kernel = load_kernel(code)
    print(
        f"compiling {compiled - began:.1f} s, loading what was compiled {(time.perf_counter() - compiled) * 1e3:.0f} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        ct = write(Path(folder) / "ct.dcm", 512, 512, "CT")
        cr = write(Path(folder) / "cr.dcm", 3000, 2500, "CR")
        report("CT 512 x 512, ct-medgemma-report", ct, "ct-medgemma-report", kernel, repeat)
        report("CR 3000 x 2500, xray", cr, "xray", kernel, max(repeat // 6, 3))


def report(title: str, path: Path, preset: str, kernel: Kernel, repeat: int) -> None:
    """Print a table: milliseconds a frame and the ratio to the model card's way."""
    renderer, compiled = SeriesRenderer(load_preset(preset)), SeriesRenderer(load_preset(preset), kernel=kernel)
    frame = Frame(FrameKey("1"), path, "1")
    stored = decode(frame)
    assert np.array_equal(renderer.render_stored(stored), compiled.render_stored(stored))
    ways: dict[str, Callable[[], object]] = {
        "read and decode alone": lambda: decode(frame),
        "compiled loops, decoding included": lambda: compiled.render(frame),
        "numpy, decoding included": lambda: renderer.render(frame),
        "compiled loops alone": lambda: compiled.render_stored(stored),
        "numpy alone": lambda: renderer.render_stored(stored),
        "plain path alone": lambda: plain(renderer, stored),
        "model card's way, decoding included": lambda: model_card(path, renderer),
    }
    seconds = measured(ways, repeat)
    slowest = seconds["model card's way, decoding included"]
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:<38} {value * 1e3:8.2f} ms  {1 / value:8.1f} /s  {slowest / value:6.1f} x the model card's way")
    print(f"  numpy alone / compiled loops alone: {seconds['numpy alone'] / seconds['compiled loops alone']:.1f}")


def measured(ways: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median CPU seconds of a call, all ways in turn, so that a busy moment of the machine slows all of them.

    The header cache is emptied each time, as for a file that was never seen.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            image_file.cache_clear()
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: float(np.median(each)) for name, each in times.items()}


def plain(renderer: SeriesRenderer, stored) -> np.ndarray:
    """Every pixel windowed, padded, resized: as in a notebook, with the same arithmetic."""
    from dicom_pipeline.imaging.resize import as_rgb, resize

    _, function = renderer.point_function(stored)
    return as_rgb(resize(function(stored.values), "tf-bilinear", renderer.preset.geometry))


def model_card(path: Path, renderer: SeriesRenderer) -> np.ndarray:
    """pixel_array, windows in float64, a PIL resize, then the Hugging Face processor."""
    from PIL import Image
    from transformers import SiglipImageProcessorPil

    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    windows = renderer.preset.windows or ((float(dataset.WindowWidth), float(dataset.WindowCenter)),) * 3
    channels = []
    for width, level in windows:
        low, high = level - width / 2, level + width / 2
        channels.append(np.round((np.clip(values, low, high) - low) / (high - low) * 255))
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).resize((448, 448), Image.Resampling.BILINEAR)
    processor = SiglipImageProcessorPil(size={"height": 448, "width": 448})
    return processor(image, return_tensors="np")["pixel_values"]


def write(path: Path, rows: int, columns: int, modality: str) -> Path:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    values = np.random.default_rng(0).normal(1000, 300, (rows, columns)).clip(0, 4095).astype("<i2")
    dataset.Rows, dataset.Columns, dataset.PixelData, dataset.Modality = rows, columns, values.tobytes(), modality
    dataset.WindowCenter, dataset.WindowWidth = "1000", "2000"
    dataset.save_as(path)
    return path


if __name__ == "__main__":
    main()
