"""A second renderer: decoders of dcmtk, numpy in float64, formulas from PS3.3 and docs/renderings.md; nothing of the package.

Only what a preset defines in float32 (the CT windows, the resize) is computed in float32, in the order that it defines.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom import Dataset

SIDE = 448
CT_WINDOWS = {
    "ct-medgemma-report": [(2250, -100), (350, 40), (80, 40)],
    "ct-medgemma-notebook": [(2048, 0), (350, 40), (80, 40)],
    "ct-single:lung": [(1500, -600)],
}
DECODERS = {
    "1.2.840.10008.1.2.5": "dcmdrle",
    "1.2.840.10008.1.2.4.80": "dcmdjpls",
    "1.2.840.10008.1.2.4.81": "dcmdjpls",
    **dict.fromkeys([f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70)], "dcmdjpeg"),
    **dict.fromkeys([f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2")], "dcmconv"),
}
"""Transfer syntax -> program that makes Explicit VR Little Endian of it. dcmtk has no JPEG 2000."""


def decoded(path: Path, syntax: str, scratch: Path) -> Dataset | None:
    """The file in Explicit VR Little Endian, None where dcmtk cannot decode it."""
    if syntax not in DECODERS:
        return None
    out = scratch / "decoded.dcm"
    out.unlink(missing_ok=True)
    done = subprocess.run([DECODERS[syntax], "+te", path, out], capture_output=True, check=False, timeout=120)
    return pydicom.dcmread(out) if done.returncode == 0 and out.exists() else None


def stored_values(ds: Dataset, frame: int) -> np.ndarray:
    """int64 or float64 (rows, columns), or uint8 (rows, columns, 3), of a frame counted from 1."""
    rows, columns, samples = ds.Rows, ds.Columns, ds.get("SamplesPerPixel", 1)
    for keyword, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        if keyword in ds:
            return np.frombuffer(ds[keyword].value, kind).reshape(-1, rows, columns)[frame - 1].astype(np.float64)
    bits, count = ds.BitsAllocated, rows * columns * samples
    if bits == 1:
        flat = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
        return flat[(frame - 1) * count : frame * count].reshape(rows, columns).astype(np.int64)
    if ds.PhotometricInterpretation == "YBR_FULL_422":  # two pixels in four bytes: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)
        quads = np.frombuffer(ds.PixelData, np.uint8, rows * columns * 2, (frame - 1) * rows * columns * 2).reshape(
            -1, 4
        )
        pairs = quads[:, [0, 2, 3, 1, 2, 3]]
        return pairs.reshape(rows, columns, 3).astype(np.int64)
    flat = np.frombuffer(ds.PixelData, f"<u{bits // 8}", count, (frame - 1) * count * bits // 8).astype(np.int64)
    flat = (flat >> (ds.HighBit + 1 - ds.BitsStored)) & ((1 << ds.BitsStored) - 1)
    if ds.PixelRepresentation:
        flat = np.where(flat >= 1 << (ds.BitsStored - 1), flat - (1 << ds.BitsStored), flat)
    if samples == 1:
        return flat.reshape(rows, columns)
    planar = ds.get("PlanarConfiguration", 0) == 1
    return np.moveaxis(flat.reshape(3, rows, columns), 0, 2) if planar else flat.reshape(rows, columns, 3)


def find(ds: Dataset, frame: int, keyword: str) -> object:
    """An attribute: of the frame's functional groups, else of the shared ones, else of the data set (PS3.3 C.7.6.16)."""
    groups = [
        *ds.get("PerFrameFunctionalGroupsSequence", [])[frame - 1 : frame],
        *ds.get("SharedFunctionalGroupsSequence", []),
    ]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value and keyword in element.value[0]:
                return element.value[0][keyword].value
    return ds.get(keyword)


def first(value: object) -> float | None:
    """The first of one or more numbers."""
    if value is None or value == "":
        return None
    return float(value[0]) if isinstance(value, pydicom.multival.MultiValue | list) else float(value)  # type: ignore[arg-type]


def modality_values(ds: Dataset, frame: int, stored: np.ndarray) -> np.ndarray:
    """Through rescale, float64 (PS3.3 C.11.1.1.2)."""
    slope, intercept = (first(find(ds, frame, f"Rescale{part}")) for part in ("Slope", "Intercept"))
    return stored * (1.0 if slope is None else slope) + (intercept or 0.0)


def voi_grey(ds: Dataset, frame: int, values: np.ndarray) -> np.ndarray | None:
    """Through the VOI LUT or the first window to 0..255, not yet rounded (PS3.3 C.11.2); None without either."""
    if tables := find(ds, frame, "VOILUTSequence"):
        table = tables[0]
        count, low, bits = (int(v) for v in table.LUTDescriptor)
        data = table.LUTData
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data, np.int64)
        index = np.clip(np.rint(values).astype(np.int64) - low, 0, (count or 65536) - 1)
        return entries[index] / (2.0**bits - 1) * 255
    centre, width = first(find(ds, frame, "WindowCenter")), first(find(ds, frame, "WindowWidth"))
    if centre is None or not width or width <= 0:
        return None
    function = find(ds, frame, "VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return 255 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1) * 255
    if width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """From low..high to 0..255."""
    return np.clip((values - low) / (high - low), 0, 1) * 255 if high > low else np.where(values > low, 255.0, 0.0)


def padding_mask(ds: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Where Pixel Padding Value or its range stands, in the pixels' own bits (PS3.3 C.7.5.1.1.2)."""
    ends = [first(ds.get(name)) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    whole = [int(end) % (1 << ds.BitsStored) for end in ends if end is not None]
    if ds.PixelRepresentation:
        whole = [end - (1 << ds.BitsStored) if end >= 1 << (ds.BitsStored - 1) else end for end in whole]
    return (stored >= min(whole)) & (stored <= max(whole))


def grey_of(ds: Dataset, frame: int, stored: np.ndarray, preset: str) -> np.ndarray:
    """uint8 (rows, columns) or (rows, columns, 3)."""
    values = modality_values(ds, frame, stored)
    padding = padding_mask(ds, stored)
    inverted = ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"
    if preset in CT_WINDOWS:
        made = np.stack([ct_window(values, *window) for window in CT_WINDOWS[preset]], -1)
        grey = made if made.shape[-1] == 3 else made[..., 0]
    else:
        grey = np.rint(percentile_grey(ds, frame, values, padding, preset)).astype(np.uint8)
    grey = 255 - grey if inverted else grey
    if padding is not None:
        grey[padding] = 0
    return grey


def percentile_grey(ds: Dataset, frame: int, values: np.ndarray, padding: np.ndarray | None, preset: str) -> np.ndarray:
    """0..255, not yet rounded: the object's own window, or percentiles of every fourth row and column without padding.

    `mr-percentile` takes percentiles, unless the middle value lies in their top quarter: then the own window, or, where the
    middle value lies in the top quarter of that too, or the brightest in its lowest tenth, all values.
    """
    own = voi_grey(ds, frame, values)
    if own is not None and preset != "mr-percentile":
        return own
    kept = np.ones_like(values, bool) if padding is None else ~padding
    sample = values[::4, ::4][kept[::4, ::4]] if kept[::4, ::4].any() else values[::4, ::4]
    low, middle, high = (float(v) for v in np.percentile(sample[np.isfinite(sample)], (0.5, 50, 99.5)))
    if preset == "mr-percentile" and not (high > low and (middle - low) / (high - low) <= 0.75):
        shown = voi_grey(ds, frame, np.array([middle, high]))
        if own is not None and shown is not None and shown[0] <= 0.75 * 255 and shown[1] >= 0.1 * 255:
            return own
        everything = values[kept] if kept.any() else values
        return stretched(values, float(everything.min()), float(everything.max()))
    return stretched(values, low, high)


def ct_window(values: np.ndarray, width: float, level: float) -> np.ndarray:
    """HU to uint8 as MedGemma's notebook does: clip, shift, divide, times 255, round; float32."""
    low, high = np.float32(level - width / 2), np.float32(level + width / 2)
    return np.rint((np.clip(values.astype(np.float32), low, high) - low) / (high - low) * np.float32(255)).astype(
        np.uint8
    )


def colour_of(ds: Dataset, stored: np.ndarray) -> np.ndarray:
    """RGB uint8 (rows, columns, 3): palettes looked up, YBR_FULL by PS3.3 C.7.6.3.1.2."""
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        planes = []
        for colour in ("Red", "Green", "Blue"):
            count, low, _ = ds[f"{colour}PaletteColorLookupTableDescriptor"].value
            data = ds[f"{colour}PaletteColorLookupTableData"].value
            entries = np.frombuffer(data, "<u2" if len(data) >= 2 * (count or 65536) else np.uint8).astype(np.int64)
            entries = entries[np.clip(stored - low, 0, (count or 65536) - 1)]
            planes.append(entries >> 8 if entries.max() > 255 else entries)
        return np.stack(planes, -1).astype(np.uint8)
    values = stored >> max(ds.BitsStored - 8, 0)
    if ds.PhotometricInterpretation in ("YBR_FULL", "YBR_FULL_422"):
        y, b, r = (values[..., n].astype(np.float64) for n in range(3))
        red, blue = y + 1.402 * (r - 128), y + 1.772 * (b - 128)
        green = y - 0.344136 * (b - 128) - 0.714136 * (r - 128)
        return np.clip(np.rint(np.stack([red, green, blue], -1)), 0, 255).astype(np.uint8)
    return values.astype(np.uint8)


def square_pixels(ds: Dataset, frame: int, image: np.ndarray) -> np.ndarray:
    """The image with its longer pixel side made rows or columns, where the two differ by 1 % or more."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
    given = (find(ds, frame, name) for name in names)
    spacing = next((v for v in given if v and all(float(side) > 0 for side in v)), (1, 1))  # type: ignore[attr-defined]
    aspect = float(spacing[0]) / float(spacing[1])
    if 0.99 < aspect < 1.01:
        return image
    rows, columns = image.shape[:2]
    size = (columns, round(rows * aspect)) if aspect > 1 else (round(columns / aspect), rows)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def resized(image: np.ndarray) -> np.ndarray:
    """Padded to a square with black, tf.image.resize(bilinear, antialias=False), truncated: uint8 (448, 448, 3)."""
    rows, columns = image.shape[:2]
    side = max(rows, columns)
    padded = np.zeros((side, side, *image.shape[2:]), np.uint8)
    padded[(side - rows) // 2 :, (side - columns) // 2 :][:rows, :columns] = image
    values = padded.reshape(side, side, -1).astype(np.float32)
    where = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * np.float32(side / SIDE) - np.float32(0.5)
    low, high = np.maximum(np.floor(where), 0).astype(int), np.minimum(np.ceil(where), side - 1).astype(int)
    part = where - np.floor(where)
    across = part[None, :, None]

    def row(index: np.ndarray) -> np.ndarray:
        line = values[index]
        return line[:, low] + (line[:, high] - line[:, low]) * across

    top, bottom = row(low), row(high)
    made = (top + (bottom - top) * part[:, None, None]).astype(np.uint8)
    return np.repeat(made, 3, 2) if made.shape[2] == 1 else made


def render(ds: Dataset, frame: int, preset: str) -> np.ndarray:
    """uint8 (448, 448, 3) of a frame of a decoded data set."""
    stored = stored_values(ds, frame)
    colour = stored.ndim == 3 or ds.PhotometricInterpretation == "PALETTE COLOR"
    return resized(square_pixels(ds, frame, colour_of(ds, stored) if colour else grey_of(ds, frame, stored, preset)))
