"""Draw the sample studies: chest CT, brain MR and chest radiographs, synthetic, with and without findings.

    python sample_data/make.py [--out sample_data/studies]

The same call gives the same bytes: UIDs are uuid5, times are fixed, noise is seeded. truth.csv says what is on each image.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from phantoms import Patient, ct_slice, draw_patient, mr_slice, radiograph
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

NAMESPACE = uuid.UUID("1c1f5a35-6e5a-5f6d-8a0d-3f7a2f1d9c55")
CT, MR, CR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.1"
TRUTH_COLUMNS = (
    "study",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "findings",
    "x",
    "y",
    "z",
    "radius",
)

STUDIES: tuple[tuple[str, str, set[str], int], ...] = (
    ("ct-chest-nodule", "chest CT", {"nodule"}, 11),
    ("mr-brain-lesion", "brain MR", {"lesion"}, 23),
    ("mr-brain-normal", "brain MR", set(), 24),
    ("cr-chest-effusion", "chest X-ray", {"pleural effusion"}, 35),
    ("cr-chest-normal", "chest X-ray", set(), 36),
)
"""Folder, kind, findings and seed of each study."""

CT_SIZE, CT_SLICES, MR_SIZE, MR_SLICES, CR_SIZE = 192, 24, 160, 20, 768


def uid(*parts: object) -> str:
    """A UID named by what it stands for."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def main() -> None:
    """Draw everything anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "studies")
    out = parser.parse_args().out
    if out.exists():
        shutil.rmtree(out)
    rows: list[dict[str, object]] = []
    for name, kind, findings, seed in STUDIES:
        patient = draw_patient(kind, findings, seed)
        draw = {"chest CT": draw_ct, "brain MR": draw_mr, "chest X-ray": draw_cr}[kind]
        rows += draw(out / name, name, patient)
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, TRUTH_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def draw_ct(folder: Path, name: str, patient: Patient) -> list[dict[str, object]]:
    """A localizer and an axial series from feet to head."""
    spacing, step = 380 / CT_SIZE, 11.0
    planes = np.linspace(0.14, 0.82, CT_SLICES)
    rows = []
    for number, z in enumerate(planes, 1):
        values = np.clip(np.rint(ct_slice(patient, float(z), CT_SIZE) / 4) * 4 + 1024, 0, 4095).astype(np.uint16)
        ds = image(name, "CT", CT, 2, number, "Chest axial (synthetic)", values, 12)
        in_space(ds, (-190.0, -190.0, round(float(number * step), 2)), (1, 0, 0, 0, 1, 0), spacing, 11.0)
        ct_module(ds, "ORIGINAL\\PRIMARY\\AXIAL")
        write(folder, ds)
        rows.append(truth(name, ds, patient, float(z)))
    scout = np.stack([ct_slice(patient, float(z), CT_SIZE).mean(axis=0) for z in np.repeat(planes[::-1], 8)])
    values = np.clip(scout * 2 + 2000, 0, 4095).astype(np.uint16)
    ds = image(name, "CT", CT, 1, 1, "Localizer (synthetic)", values, 12)
    in_space(ds, (-190.0, 0.0, 270.0), (1, 0, 0, 0, 0, -1), spacing, 1.0)
    ct_module(ds, "ORIGINAL\\PRIMARY\\LOCALIZER")
    write(folder, ds)
    return rows


def draw_mr(folder: Path, name: str, patient: Patient) -> list[dict[str, object]]:
    """A T1 series of axial slices."""
    rows = []
    for number, z in enumerate(np.linspace(0.15, 0.85, MR_SLICES), 1):
        values = np.clip(np.rint(mr_slice(patient, float(z), MR_SIZE) / 8) * 8, 0, 4095).astype(np.uint16)
        ds = image(name, "MR", MR, 1, number, "T1 axial (synthetic)", values, 12)
        in_space(ds, (-110.0, -110.0, number * 6.0 - 60), (1, 0, 0, 0, 1, 0), 220 / MR_SIZE, 5.0)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.MagneticFieldStrength = "500", "12", "1", "1.5"
        ds.BodyPartExamined = "BRAIN"
        write(folder, ds)
        rows.append(truth(name, ds, patient, float(z)))
    return rows


def draw_cr(folder: Path, name: str, patient: Patient) -> list[dict[str, object]]:
    """One frontal radiograph, stored dark-is-dense (MONOCHROME1) as many CR readers send it."""
    values = np.clip(np.rint((1000 - radiograph(patient, CR_SIZE)) / 8) * 8, 0, 1023).astype(np.uint16)
    ds = image(name, "CR", CR, 1, 1, "Chest PA (synthetic)", values, 10)
    ds.PhotometricInterpretation = "MONOCHROME1"
    ds.BodyPartExamined, ds.ViewPosition, ds.PatientOrientation = "CHEST", "PA", ["L", "F"]
    ds.PlateType, ds.ImagerPixelSpacing = "", ["0.5", "0.5"]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    write(folder, ds)
    return [truth(name, ds, patient, None)]


def image(
    name: str, modality: str, sop_class: str, series: int, number: int, description: str, values: Any, bits: int
) -> Dataset:
    """The modules that all images share."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(name, series, number)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(name), uid(name, series)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260105"
    ds.StudyTime = ds.SeriesTime = "090000"
    ds.AcquisitionTime = ds.ContentTime = f"09{number % 60:02d}00"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "Phantom drawings", "sample_data/make.py"
    ds.InstitutionName, ds.ReferringPhysicianName, ds.AccessionNumber = "Nowhere (synthetic)", "", ""
    ds.StudyDescription, ds.SeriesDescription = f"Synthetic {name}", description
    ds.PatientName, ds.PatientID = f"PHANTOM^{name.upper()}", f"PHANTOM-{name.upper()}"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", "O", "050Y"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = "1", series, number, 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.PixelData = values.astype("<u2").tobytes()
    return ds


def in_space(
    ds: Dataset, position: tuple[float, float, float], orientation: tuple[int, ...], spacing: float, thickness: float
) -> None:
    """Image Plane and Frame of Reference."""
    ds.ImagePositionPatient = [f"{v:.2f}" for v in position]
    ds.ImageOrientationPatient = list(map(str, orientation))
    ds.PixelSpacing, ds.SliceThickness = [f"{spacing:.4f}"] * 2, f"{thickness:.1f}"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid(ds.StudyInstanceUID, "frame"), ""
    ds.PatientPosition = "HFS"


def ct_module(ds: Dataset, image_type: str) -> None:
    """The CT Image module."""
    ds.ImageType = image_type.split("\\")
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.KVP, ds.ConvolutionKernel, ds.BodyPartExamined = "120", "SYNTHETIC", "CHEST"


def truth(name: str, ds: Dataset, patient: Patient, z: float | None) -> dict[str, object]:
    """The row of one image: findings that can be seen on it, and the place of the first, in the drawing's coordinates."""
    shown = {
        f: p for f, p in patient.findings.items() if z is None or f not in ("nodule", "lesion") or abs(z - p[2]) < p[3]
    }
    place = next(iter(shown.values()), None)
    values = dict(zip(("x", "y", "z", "radius"), (f"{v:.3f}" for v in place) if place else [""] * 4, strict=True))
    uids = {"study_instance_uid": ds.StudyInstanceUID, "series_instance_uid": ds.SeriesInstanceUID}
    return {"study": name, **uids, "sop_instance_uid": ds.SOPInstanceUID, "findings": ";".join(sorted(shown)), **values}


def write(folder: Path, ds: Dataset) -> None:
    """Compress without loss and write."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid("implementation"), "SAMPLE_DATA"
    ds.file_meta = meta
    ds.compress(RLELossless, generate_instance_uid=False)
    folder.mkdir(parents=True, exist_ok=True)
    dcmwrite(folder / f"{ds.SeriesNumber}-{ds.InstanceNumber:02d}.dcm", ds, enforce_file_format=True)


if __name__ == "__main__":
    main()
