"""Reports for tests: revisions of a few synthetic instances with chosen tags."""

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset

from dicom_pipeline.domain import (
    Code,
    Derivation,
    Frame,
    FrameKey,
    Label,
    LabelSet,
    Plan,
    Provenance,
    Revision,
    Score,
    ScoreKind,
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
        ds.Rows, ds.Columns = 512, 400
        ds.SeriesNumber, ds.InstanceNumber = 3, number % 10 + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values are wrong on purpose
        for name, value in (tags or {}).items():
            setattr(ds, name, value)
    return ds


def made_scores(labels: LabelSet, series: str, frames, derivation, scale=1.0) -> list[Score]:
    scores = []
    most = 100 * max(1, len(labels.labels) // 20)
    for index, label in enumerate(labels.labels):
        mine = [
            Score(label.name, scale * (index + 1) * (i + 1) / most, labels.kind, series, f.key)
            for i, f in enumerate(frames[:4])
        ]
        best = mine[-1]
        scores += [Score(label.name, best.value, labels.kind, series, best.frame, derivation), *mine]
    return scores


SMALL = LabelSet(
    "small",
    "1",
    (
        Label(
            "Pneumothorax",
            ("x",),
            ("y",),
            Code("36118008", "SCT", "Pneumothorax"),
            Code("3120008", "SCT", "Pleural membrane structure"),
            (),
            0.03,
        ),
        Label("Lung Lesion", ("x",), ("y",), Code("52988006", "SCT", "Lesion"), None, (), 0.99),
        Label("Support Devices", ("x",), ("y",)),
    ),
    ScoreKind.ZERO_SHOT_PAIR,
)
"""Labels with code, site and threshold, with some of them, with none: few, as PixelMed's time grows with their number."""


def report(
    kind="CT",
    tags=None,
    *,
    full=True,
    number=1,
    predecessor=None,
    predecessor_class=None,
    label_set: LabelSet | None = None,
    series=1,
    derivation=Derivation.MAX,
    sets: Sequence[LabelSet] = (),
    scale=1.0,
    instances=4,
    **options,
):
    """A report of four instances a series, and all the scores that there were.

    sets: the label sets of the series in turn, where they are not all of label_set. scale: what scores are multiplied by.
    """
    labels = label_set or load_label_set("cxr-13")
    plans, scores, headers = [], [], {}
    for nth in range(series):
        uid = SERIES if nth == 0 else f"{SERIES}.{nth}"
        mine = {
            str(h.SOPInstanceUID): h for h in (header(kind, 10 * nth + i, tags, full=full) for i in range(instances))
        }
        for each in mine.values():
            each.SeriesInstanceUID = uid
        frames = tuple(
            Frame(FrameKey(instance, frame), Path("x"), uid, float(i))
            for i, instance in enumerate(mine)
            for frame in ((1, 2, 3) if kind == "ECT" else (1,))
        )
        scores += made_scores(sets[nth % len(sets)] if sets else labels, uid, frames, derivation, scale)
        modality = "CT" if kind == "ECT" else kind
        plans.append(SeriesPlan(uid, modality, "test", "ct-medgemma-report", "all", frames))
        headers |= mine
    plan = Plan(STUDY, tuple(plans))
    moment = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
    revision = Revision(STUDY, number, moment, dict.fromkeys(headers, "00"), predecessor, predecessor_class)
    return build_report(revision, plan, headers, scores, labels, PROVENANCE, **options), scores
