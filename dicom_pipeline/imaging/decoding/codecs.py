"""imagecodecs (BSD-3-Clause) as a decoding plugin of pydicom: where pydicom has no permissive decoder, or a slow one.

libjpeg-turbo 3 reads 12-bit JPEG (ISO/IEC 10918-1 process 4; PS3.5 8.2.1) and lossless JPEG (process 14) of one sample a pixel,
PackBits each segment of RLE (PS3.5 annex G). pydicom asks a plugin for `is_available` and `DECODER_DEPENDENCIES`. What is
refused here, with an exception, goes to the next decoder.
"""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
from pydicom.pixels import get_decoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless

VERSION = "imagecodecs>=2024.1"
DECODER_DEPENDENCIES = dict.fromkeys((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, RLELossless), (VERSION,))
LABEL = "imagecodecs"

EOI, PADDING = b"\xff\xd9", b"\x00\xff"
"""End of image, and the bytes with which files make a code stream even."""

RLE_HEADER = struct.Struct("<16L")


def is_available(uid: str) -> bool:
    """Whether this file decodes the transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """One frame's code stream -> its samples, little endian. Raises ValueError, or what imagecodecs raises."""
    if runner.transfer_syntax == RLELossless:
        return _rle(src, runner)
    if not src.rstrip(PADDING).endswith(EOI):
        raise ValueError("the code stream ends without EOI")  # libjpeg-turbo would fill in what is missing
    if runner.transfer_syntax == JPEGExtended12Bit:
        return _jpeg12(src, runner)
    return _lossless_jpeg(src, runner)


def _jpeg12(src: bytes, runner: DecodeRunner) -> bytearray:
    """Uint16. Lossy values beyond what BitsStored can hold are clipped to it.

    Cut to their low bits, the brightest pixel would come out black.
    """
    stored = runner.bits_stored
    if stored <= 8:
        raise ValueError(f"{stored} bits")  # pydicom's own plugins read them
    values = np.asarray(imagecodecs.jpeg_decode(src)).astype("<u2")
    if runner.pixel_representation == 1:
        values = (values << (16 - stored)).view("<i2") >> (16 - stored)
    else:
        values = np.minimum(values, (1 << stored) - 1).astype("<u2")
    runner.set_option("bits_allocated", 16)
    return bytearray(values.tobytes())


def _lossless_jpeg(src: bytes, runner: DecodeRunner) -> bytearray:
    if runner.samples_per_pixel != 1:
        raise ValueError("more than one sample a pixel")
    values = np.asarray(imagecodecs.jpeg8_decode(src))
    if values.shape != (runner.rows, runner.columns) or values.dtype.itemsize * 8 != runner.bits_allocated:
        raise ValueError(f"{values.dtype} of shape {values.shape}")
    return bytearray(values.astype(values.dtype.newbyteorder("<"), "C", copy=False).data)


def _rle(src: bytes, runner: DecodeRunner) -> bytearray:
    """Samples plane by plane. Each segment must give just the bytes of one plane; a byte of padding may follow it."""
    pixels, width = runner.rows * runner.columns, runner.bits_allocated // 8
    count, *offsets = RLE_HEADER.unpack_from(src)
    if runner.bits_allocated % 8 or count != runner.samples_per_pixel * width or count > len(offsets):
        raise ValueError(f"{count} RLE segments")
    ends = [*offsets[1:count], len(src)]
    planes = np.empty((runner.samples_per_pixel, pixels, width), np.uint8)
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        plane = imagecodecs.packbits_decode(src[start:end])
        if not pixels <= len(plane) <= pixels + 1:
            raise ValueError(f"an RLE segment of {len(plane)} bytes")
        sample, byte = divmod(number, width)  # the most significant byte comes first
        planes[sample, :, width - 1 - byte] = np.frombuffer(plane, np.uint8, pixels)
    runner.set_option("planar_configuration", 1)
    return bytearray(planes.data)


def register() -> None:
    """Make pydicom know it, behind its own plugins; a second call changes nothing."""
    for syntax in DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if LABEL not in decoder.available_plugins:
            decoder.add_plugin(LABEL, (__name__, "decode_frame"))
