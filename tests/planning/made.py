"""Headers of images that were never made, for plans."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID, generate_uid

from dicom_pipeline.dicom.reading import ReadFile
from dicom_pipeline.domain import Plan, SeriesPlan
from dicom_pipeline.planning import Rules, default_rules, plan_study
from dicom_pipeline.planning.headers import Header

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "SM": "1.2.840.10008.5.1.4.1.1.77.1.6"}
AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def synthetic(number: int, series: str = "1.3", frames: int = 1, **values) -> Header:
    """One image: a CT slice in HU at 2 mm times its number, axial, changed by `values`; None takes an attribute away."""
    ds = pydicom.Dataset()
    ds.Modality, ds.Rows, ds.Columns, ds.BitsAllocated, ds.SamplesPerPixel = "CT", 8, 8, 16, 1
    ds.PixelRepresentation, ds.RescaleSlope, ds.RescaleIntercept = 0, 1, -1024
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    orientation = values.get("ImageOrientationPatient") or AXIAL
    normal = np.cross(orientation[:3], orientation[3:])
    ds.ImageOrientationPatient, ds.ImagePositionPatient = orientation, (normal * 2.0 * number).tolist()
    ds.InstanceNumber = number
    for name, value in values.items():
        setattr(ds, name, value)
    uid = generate_uid(entropy_srcs=[str(number), series, repr(values)])
    modality = str(ds.Modality)
    sop_class = CLASSES.get(modality, CLASSES["CT"])
    file = ReadFile(Path("x"), ds, UID("1.2.840.10008.1.2"), 0, 0)
    return Header(file, "1.2", series, uid, sop_class, "1.2.840.10008.1.2", modality, frames)


def stack(count: int, series: str = "1.3", **values) -> list[Header]:
    """A stack of `count` images."""
    return [synthetic(number, series, **values) for number in range(count)]


def plan_of(headers: list[Header], rules: Rules | None = None, **options) -> Plan:
    """The plan by the shipped rules or others."""
    return plan_study(headers, rules or default_rules(), **options)


def only_series(headers: list[Header], rules: Rules | None = None, **options) -> SeriesPlan:
    """The plan of the one series that is used."""
    (series,) = plan_of(headers, rules, **options).series
    return series


def reasons_of(headers: list[Header], rules: Rules | None = None) -> dict[str, str]:
    """Series Instance UID -> the reason of its instances, "used" where any frame of it is used."""
    plan = plan_of(headers, rules)
    reasons = {item.series_instance_uid: item.reason.value for item in plan.all_excluded}
    return reasons | {series.series_instance_uid: "used" for series in plan.series if series.frames}
