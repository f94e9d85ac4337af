"""Which decoders read a transfer syntax, the quickest first: `benchmarks/decoding.py` measures them and compares their pixels.

All have permissive licences: gdcm and imagecodecs BSD, pyjpegls and Pillow MIT, OpenJPEG BSD. pylibjpeg-libjpeg is GPL; where
it is installed it is not used, so that it changes no pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_pipeline.imaging.decoding import codecs

PLUGINS: Mapping[str, tuple[str, ...]] = {
    JPEGBaseline8Bit: ("pillow", "gdcm"),
    JPEGExtended12Bit: ("imagecodecs", "pillow", "gdcm"),  # the first: 12 bits alone
    JPEGLossless: ("imagecodecs", "gdcm"),
    JPEGLosslessSV1: ("imagecodecs", "gdcm"),
    JPEGLSLossless: ("pyjpegls", "gdcm"),
    JPEGLSNearLossless: ("pyjpegls", "gdcm"),
    JPEG2000Lossless: ("pylibjpeg", "pillow", "gdcm"),
    JPEG2000: ("pylibjpeg", "pillow", "gdcm"),
    HTJ2KLossless: ("pylibjpeg",),
    HTJ2KLosslessRPCL: ("pylibjpeg",),
    HTJ2K: ("pylibjpeg",),
    RLELossless: ("imagecodecs", "pydicom"),
}
"""Names of pydicom's plugins; one that refuses a stream is followed by the next. pylibjpeg is OpenJPEG here."""

codecs.register()


def plugins_of(decoder: Decoder) -> tuple[str, ...]:
    """The plugins that read the decoder's transfer syntax, in the order in which they are tried."""
    return tuple(name for name in PLUGINS.get(decoder.UID, ()) if name in decoder.available_plugins)


def decode_first(decoder: Decoder, frame: bytes, options: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The one frame of encapsulated pixel data, by the first plugin that can.

    Raises what the last one raises: RuntimeError where it refuses the code stream, ValueError where that makes no frame.
    """
    *firsts, last = plugins_of(decoder)
    for plugin in firsts:
        try:
            return decoder.as_array(frame, index=0, decoding_plugin=plugin, **options)[0]
        except (RuntimeError, ValueError):  # what it lacks, or does not take of a damaged stream
            continue
    return np.asarray(decoder.as_array(frame, index=0, decoding_plugin=last, **options)[0])
