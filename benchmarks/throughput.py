"""Frames per second from files to reports, with an encoder that costs nothing, beside the model card's way (no report).

    python benchmarks/throughput.py [--frames 300] [--studies 20] [--processes 1 2] [--model FOLDER]

One run, the same synthetic CT files for all. What is left of the time is what a GPU would wait for. The model card's way runs
on one core: reads a file, windows it in float, resizes it and runs the Hugging Face processor. Ours renders with numpy and
with compiled loops (extra `fast`). With --model the encoder is that one, on the device that there is, and the goal is its own
rate (benchmarks/gpu.py). CPU time stands beside the rates: on a busy machine it tells more.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from rendering import model_card

from dicom_pipeline.encoders import Encoder, load_encoder
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.pipeline import EncoderIdentity, Pipeline, Recipe
from dicom_pipeline.pipeline.renderers import KernelChoice, Renderers
from dicom_pipeline.scoring import LabelChoice


class FreeEncoder:
    """An encoder without a model: its vectors are of chance, and come at once."""

    name, weights, precision, notice = "free", "0" * 64, "cpu-float32", ""
    dimension, batch_size = 1152, 32
    logit_scale, logit_bias = 4.7, -16.0

    def __init__(self) -> None:
        self._vectors = np.random.default_rng(0).standard_normal((64, self.dimension), dtype=np.float32)

    def encode_images(self, pixels) -> np.ndarray:
        return self._vectors[: len(pixels)]

    def encode_texts(self, texts) -> np.ndarray:
        return np.resize(self._vectors, (len(texts), self.dimension))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    encoder = FreeEncoder() if given.model is None else load_encoder(str(given.model))
    with tempfile.TemporaryDirectory(prefix="throughput-") as name:
        one, many = Path(name) / "one", Path(name) / "many"
        write_studies(one, 1, given.frames)
        write_studies(many, given.studies, 30)
        for title, folder, frames in (
            (f"{given.frames} CT in one study", one, given.frames),
            (f"{given.studies} studies of 30 CT", many, 30 * given.studies),
        ):
            card = rate(lambda folder=folder: by_the_card(folder))
            print(f"\n{title}\n  {'the model card, one core, no report':<44} {card:7.1f} frames/s")
            for processes, compiled in itertools.product(given.processes, (False, True)):
                with Renderers(processes, kernel=KernelChoice(compiled)) as renderers:
                    pipeline = pipeline_of(renderers, encoder)
                    list(pipeline.process_paths(sorted(one.glob("*"))[:4]))  # processes started, modules imported
                    main, children = cpu_seconds()
                    ours = rate(lambda folder=folder, pipeline=pipeline: through(pipeline, folder))
                    main, children = (
                        1e3 * (now - then) / frames for now, then in zip(cpu_seconds(), (main, children), strict=True)
                    )
                    words = f"this pipeline, {processes} render process(es), {renderers.kernel}"
                print(
                    f"  {words:<44} {ours:7.1f} frames/s  {ours / card:5.2f} x the model card's way; "
                    f"CPU a frame: main process {main:.1f} ms, render processes {children:.1f} ms"
                )


def pipeline_of(renderers: Renderers, encoder: Encoder) -> Pipeline:
    recipe = Recipe(EncoderIdentity.of(encoder), LabelChoice.load(["phantom"]), selection="all")
    return Pipeline(encoder, recipe, renderers=renderers)


def cpu_seconds() -> tuple[float, float]:
    """What this process has used, and its children that live."""
    children = (child.cpu_times() for child in psutil.Process().children())
    return time.process_time(), sum(times.user + times.system for times in children)


def rate(run) -> float:
    """Frames per second; run returns how many there were."""
    began = time.perf_counter()
    return run() / (time.perf_counter() - began)


def through(pipeline: Pipeline, folder: Path) -> int:
    results = list(pipeline.process_paths([folder]))
    assert all(result.report is not None for result in results)
    return sum(len(result.embeddings) for result in results)


def by_the_card(folder: Path) -> int:
    renderer = SeriesRenderer(load_preset("ct-medgemma-report"))
    paths = sorted(folder.rglob("*.dcm"))
    for path in paths:
        model_card(path, renderer)
    return len(paths)


def write_studies(folder: Path, studies: int, frames: int) -> None:
    """CT series of 512 x 512 with noise in the Hounsfield range, slices of 1 mm."""
    noise = np.random.default_rng(0).normal(1000, 300, (512, 512)).clip(0, 4095).astype("<i2")
    for study in range(studies):
        where = folder / f"{study:03d}" if studies > 1 else folder
        where.mkdir(parents=True)
        write_series(where, frames, noise)


def write_series(folder: Path, frames: int, noise: np.ndarray) -> None:
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.Rows, dataset.Columns = noise.shape
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    for number, pixels in enumerate(shifted(noise, frames)):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber, dataset.ImagePositionPatient = number + 1, [-158.1, -179.0, -75.7 + number]
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{number:04d}.dcm")


def shifted(noise: np.ndarray, count: int) -> Iterable[np.ndarray]:
    return (np.roll(noise, number, axis=0) for number in range(count))


if __name__ == "__main__":
    main()
