"""Small instances of chosen pixels, written as files."""

import copy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.decoding.frames import decode

LEFT_OUT = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue")


def instance(values, **attributes) -> pydicom.Dataset:
    """A radiograph of an array of stored values, (r, c) or RGB (r, c, 3), uncompressed; attributes are set after the pixels."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name in LEFT_OUT:
        if name in dataset:
            del dataset[name]
    dataset.Modality, dataset.SOPClassUID = "CR", "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = generate_uid()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[:2]
    if values.ndim == 3:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(values.dtype.kind == "i")
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def write(dataset: pydicom.Dataset, folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """The instance as a file of its own."""
    fresh = pydicom.Dataset(dataset)  # one that was read may not change its byte order
    fresh.file_meta, fresh.preamble = copy.deepcopy(dataset.file_meta), b"\0" * 128
    fresh.file_meta.TransferSyntaxUID = syntax
    fresh.file_meta.MediaStorageSOPInstanceUID = fresh.SOPInstanceUID
    path = folder / f"{generate_uid()}.dcm"
    pydicom.dcmwrite(path, fresh, enforce_file_format=True)
    return path


def frame(path: Path, number: int = 1) -> Frame:
    return Frame(FrameKey("1.2", number), path, "1.3")


def stored(path: Path, number: int = 1):
    return decode(frame(path, number)).values


def bars(values, dtype=np.uint16):
    """An image 448 wide in which each value is a vertical bar."""
    width = 448 // len(values)
    return np.tile(np.repeat(np.array(values, dtype), width), (len(values) * width, 1))


def rendered_bars(path: Path, count: int, preset: str = "xray"):
    """The RGB colour in the middle of each of `count` bars, as rendered."""
    pixels = SeriesRenderer(load_preset(preset)).render(frame(path)).pixels
    step = 448 // count
    return [tuple(int(c) for c in pixels[224, n * step + step // 2]) for n in range(count)]
