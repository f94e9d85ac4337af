"""CPU time of a 512 x 512 frame by each decoder that is installed, for each transfer syntax, and whether their pixels agree.

    python benchmarks/decoding.py [--repeat 25]

The order in `imaging/decoding/decoders.py` is taken from here. Beside each time: whether the decoder refuses a frame that
lacks its last tenth, because one that fills in what is missing is not chosen. Some decoders do not survive damaged frames, so
that is asked in a process of its own. imagecodecs' own functions stand beside pydicom's plugins, which cost some 0.2 ms.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.pixels.encoders import RLELosslessEncoder

from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.imaging.decoding.decoders import plugins_of

SIDE = 512


@dataclass(frozen=True)
class Case:
    """A frame in a transfer syntax, and imagecodecs' functions that read it."""

    title: str
    syntax: uid.UID
    code: bytes
    bits: int
    samples: int = 1
    functions: tuple[str, ...] = ()

    def by_plugin(self, plugin: str, code: bytes) -> np.ndarray:
        options = {
            "rows": SIDE,
            "columns": SIDE,
            "samples_per_pixel": self.samples,
            "planar_configuration": 0,
            "photometric_interpretation": "MONOCHROME2" if self.samples == 1 else "YBR_FULL_422",
            "bits_allocated": 8 if self.bits <= 8 else 16,
            "bits_stored": self.bits,
            "pixel_representation": 0,
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
        }
        with suppress_warnings():
            return get_decoder(self.syntax).as_array(
                encapsulate([code]), index=0, decoding_plugin=plugin, raw=True, **options
            )[0]

    def ways(self) -> dict[str, Callable[[bytes], np.ndarray]]:
        plugins = get_decoder(self.syntax).available_plugins
        made = {f"pydicom: {name}": lambda code, name=name: self.by_plugin(name, code) for name in plugins}
        for name in self.functions:
            made[f"imagecodecs.{name}"] = lambda code, name=name: np.asarray(getattr(imagecodecs, name)(code))
        return made


def cases() -> Iterator[Case]:
    """A section through a body with noise, 12 bits, and the same in 8 bits and in colour."""
    grey = body()
    eight = (grey >> 4).astype(np.uint8)
    colour = np.stack([eight, np.roll(eight, 3, axis=0), 255 - eight], axis=-1)
    jpeg = ("jpeg8_decode",)
    yield Case("JPEG Baseline, grey", uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(eight, level=90), 8, 1, jpeg)
    yield Case("JPEG Baseline, colour", uid.JPEGBaseline8Bit, imagecodecs.jpeg8_encode(colour, level=90), 8, 3)
    twelve = imagecodecs.jpeg8_encode(grey, level=90, bitspersample=12)
    yield Case("JPEG Extended, 12 bits", uid.JPEGExtended12Bit, twelve, 12, 1, jpeg)
    lossless = imagecodecs.jpeg8_encode(grey, lossless=True, bitspersample=12, predictor=1)
    functions = ("jpegsof3_decode", "ljpeg_decode", "jpeg8_decode")
    yield Case("JPEG Lossless", uid.JPEGLosslessSV1, lossless, 12, 1, functions)
    charls = ("jpegls_decode",)
    yield Case("JPEG-LS Lossless", uid.JPEGLSLossless, imagecodecs.jpegls_encode(grey), 16, 1, charls)
    yield Case("JPEG-LS Near-Lossless", uid.JPEGLSNearLossless, imagecodecs.jpegls_encode(grey, level=2), 16, 1, charls)
    wavelets = {"codecformat": "J2K", "bitspersample": 12}
    reversible = imagecodecs.jpeg2k_encode(grey, reversible=True, **wavelets)
    yield Case("JPEG 2000 Lossless", uid.JPEG2000Lossless, reversible, 12, 1, ("jpeg2k_decode",))
    lossy = imagecodecs.jpeg2k_encode(grey, level=60, reversible=False, **wavelets)
    yield Case("JPEG 2000", uid.JPEG2000, lossy, 12, 1, ("jpeg2k_decode",))
    high = imagecodecs.htj2k_encode(grey, reversible=True)
    yield Case("HTJ2K Lossless", uid.HTJ2KLossless, high, 16, 1, ("htj2k_decode", "jpeg2k_decode"))
    yield Case("RLE", uid.RLELossless, rle(grey), 12)


def body() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    values = np.full((SIDE, SIDE), 24.0)
    values[x**2 / 0.18 + y**2 / 0.12 < 1] = 1064
    for side in (-0.18, 0.18):
        values[(x + side) ** 2 / 0.02 + y**2 / 0.04 < 1] = 190
    values[x**2 + (y - 0.2) ** 2 < 0.004] = 1700
    return (values + np.random.default_rng(0).normal(0, 12, values.shape)).clip(0, 4095).astype(np.uint16)


def rle(values: np.ndarray) -> bytes:
    return RLELosslessEncoder.encode(
        values, rows=SIDE, columns=SIDE, samples_per_pixel=1, bits_allocated=16, bits_stored=12, number_of_frames=1,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=25)
    repeat = parser.parse_args().repeat
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # the traceback of each decoder that refuses a frame
    for case in cases():
        chosen = plugins_of(get_decoder(case.syntax))
        print(f"\n{case.title}, {len(case.code)} bytes; tried in the order {', '.join(chosen)}")
        reference = case.by_plugin(chosen[0], case.code)
        agrees = {}
        for name, way in case.ways().items():
            try:
                agrees[name] = "equal pixels" if np.array_equal(way(case.code), reference) else "OTHER PIXELS"
            except RuntimeError:
                print(f"  {name:<28} does not read it")
        ways = {name: way for name, way in case.ways().items() if name in agrees}
        for name, milliseconds in measured(ways, case.code, repeat).items():
            refuses = "refuses" if refuses_truncated(ways[name], case.code) else "fills in"
            print(f"  {name:<28} {milliseconds:7.2f} ms   {agrees[name]}   {refuses} what is missing")


def measured(ways: dict[str, Callable[[bytes], np.ndarray]], code: bytes, repeat: int) -> dict[str, float]:
    """Median CPU milliseconds, all ways in turn, so that a busy moment of the machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.process_time()
            way(code)
            times[name].append(time.process_time() - start)
    return {name: float(np.median(each)) * 1e3 for name, each in times.items()}


def refuses_truncated(way: Callable[[bytes], np.ndarray], code: bytes) -> bool:
    """Whether a frame without its last tenth is an error, or the end of the process."""

    def attempt() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg says there what it thinks of it
        way(code[: len(code) * 9 // 10])

    child = multiprocessing.get_context("fork").Process(target=attempt)
    child.start()
    child.join()
    return child.exitcode != 0


if __name__ == "__main__":
    main()
