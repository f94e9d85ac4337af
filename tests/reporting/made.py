"""Reports for tests: revisions of a few synthetic instances with chosen tags."""

import warnings
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from dicom_pipeline.domain import (
    Derivation,
    Frame,
    FrameKey,
    LabelSet,
    Plan,
    Provenance,
    Revision,
    Score,
    SeriesPlan,
)
from dicom_pipeline.reporting import build_report
from dicom_pipeline.scoring import load_label_set

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "ECT": "1.2.840.10008.5.1.4.1.1.2.1",
}
STUDY, SERIES = "2.25.1001", "2.25.1002"
PROVENANCE = Provenance(
    encoder="phantom",
    weights="ab" * 32,
    precision="cpu-float32",
    presets={"ct-medgemma-report": "cd" * 32},
    selection="uniform:4",
    label_set="cxr-13 1",
    label_set_digest="ef" * 32,
    software="dicom_pipeline 0.1.0",
    notice="Trained on drawings only.",
)


def header(kind: str, number: int, tags: dict | None = None, *, full: bool = True) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SOP_CLASSES[kind], f"2.25.{2000 + number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
    ds.Modality = "CT" if kind == "ECT" else kind
    if kind == "ECT":
        ds.NumberOfFrames = 3
    if full:
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Case", "ID1", "19700101", "F"
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260102", "101500", "S1", "A1"
        ds.ReferringPhysicianName = "Doctor^Who"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values are wrong on purpose
        for name, value in (tags or {}).items():
            setattr(ds, name, value)
    return ds


def report(
    kind="CT", tags=None, *, full=True, number=1, predecessor=None, label_set: LabelSet | None = None, **options
):
    labels = label_set or load_label_set("cxr-13")
    headers = {str(h.SOPInstanceUID): h for h in (header(kind, i, tags, full=full) for i in range(4))}
    frames = tuple(
        Frame(FrameKey(uid, frame), Path("x"), SERIES, float(i))
        for i, uid in enumerate(headers)
        for frame in ((1, 2, 3) if kind == "ECT" else (1,))
    )
    scores = []
    for index, label in enumerate(labels.labels):
        mine = [
            Score(label.name, (index + 1) * (i + 1) / 100, labels.kind, SERIES, f.key) for i, f in enumerate(frames[:4])
        ]
        best = mine[-1]
        scores += [Score(label.name, best.value, labels.kind, SERIES, best.frame, Derivation.MAX), *mine]
    modality = "CT" if kind == "ECT" else kind
    plan = Plan(STUDY, (SeriesPlan(SERIES, modality, "test", "ct-medgemma-report", "all", frames),))
    moment = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    revision = Revision(STUDY, number, moment, dict.fromkeys(headers, "00"), predecessor)
    return build_report(revision, plan, headers, scores, labels, PROVENANCE, **options), scores
