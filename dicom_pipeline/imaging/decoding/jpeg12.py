"""12-bit JPEG Extended (ISO/IEC 10918-1 process 4; PS3.5 8.2.1) for pydicom, which has no permissive decoder of it.

libjpeg-turbo 3 does the work, through imagecodecs (BSD-3-Clause). pydicom asks a decoding plugin for `is_available` and
`DECODER_DEPENDENCIES`; 8-bit data of this syntax stay with pydicom's own plugins.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("imagecodecs>=2024.1",)}
LABEL = "imagecodecs"


def is_available(uid: str) -> bool:
    """Whether this file decodes the transfer syntax."""
    return uid == JPEGExtended12Bit


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """One frame's code stream -> its samples, uint16 little endian.

    Lossy values beyond what BitsStored can hold are clipped to it: cut to their low bits, the brightest pixel would come
    out black.
    """
    values = np.asarray(imagecodecs.jpeg_decode(src)).astype("<u2")
    stored = runner.bits_stored
    if runner.pixel_representation == 1:
        values = (values << (16 - stored)).view("<i2") >> (16 - stored)
    else:
        values = np.minimum(values, (1 << stored) - 1).astype("<u2")
    runner.set_option("bits_allocated", 16)
    return bytearray(values.tobytes())


def register() -> None:
    """Make pydicom use it; a second call changes nothing."""
    if LABEL not in JPEGExtended12BitDecoder.available_plugins:
        JPEGExtended12BitDecoder.add_plugin(LABEL, (__name__, "decode_frame"))
