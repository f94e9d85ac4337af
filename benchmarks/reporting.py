"""Seconds to build one report, beside highdicom's own way of collecting evidence from whole data sets.

python benchmarks/reporting.py [--instances 1000] [--key-frames 3]
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pydicom
from highdicom.sr import Comprehensive3DSR
from pydicom.data import get_testdata_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Derivation, Frame, FrameKey, Plan, Provenance, Revision, Score, SeriesPlan
from dicom_pipeline.reporting import build_report
from dicom_pipeline.reporting.content import content
from dicom_pipeline.reporting.evidence import clean_header
from dicom_pipeline.scoring import load_label_set

STUDY, SERIES = "2.25.1", "2.25.2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--key-frames", type=int, default=3)
    wishes = parser.parse_args()
    warnings.simplefilter("ignore")
    headers = study(wishes.instances)
    labels = load_label_set("cxr-13")
    frames = tuple(Frame(FrameKey(uid), Path("x"), SERIES, float(i)) for i, uid in enumerate(headers))
    scores = [
        Score(x.name, (i % 97) / 97, labels.kind, SERIES, f.key) for i, f in enumerate(frames) for x in labels.labels
    ]
    scores += [Score(x.name, 0.5, labels.kind, SERIES, frames[0].key, Derivation.MAX) for x in labels.labels]
    plan = Plan(STUDY, (SeriesPlan(SERIES, "CT", "benchmark", "ct-medgemma-report", "all", frames),))
    revision = Revision(STUDY, 1, datetime(2026, 1, 1, tzinfo=UTC), dict.fromkeys(headers, "00"))
    made_by = Provenance("phantom", "a" * 64, "cpu-float32", {}, "all", "cxr-13 1", "b" * 64, "dicom_pipeline 0")

    def ours() -> bytes:
        return encode(build_report(revision, plan, headers, scores, labels, made_by, key_frames=wishes.key_frames))

    def highdicoms() -> object:
        clean = {uid: clean_header(header) for uid, header in headers.items()}
        for uid, header in clean.items():
            header.SOPInstanceUID = uid
        root = content(plan, clean, scores, labels, made_by, wishes.key_frames, {})
        return Comprehensive3DSR(
            evidence=[copy.deepcopy(header) for header in headers.values()],
            content=root,
            series_instance_uid="2.25.3",
            series_number=1,
            sop_instance_uid="2.25.4",
            instance_number=1,
            manufacturer="x",
        )

    print(f"{wishes.instances} evidence instances, {wishes.key_frames} key frames, 13 labels")
    print(f"| way | seconds |\n| --- | --- |\n| this build, encoded ({len(ours()) // 1024} kB) | {best(ours):.2f} |")
    print(f"| highdicom over whole headers, no image library | {best(highdicoms):.2f} |")


def study(count: int) -> dict[str, pydicom.Dataset]:
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"), stop_before_pixels=True)
    headers = {}
    for number in range(count):
        header = copy.deepcopy(source)
        header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, SERIES
        header.SOPInstanceUID = f"2.25.1000{number}"
        header.PatientSex, header.PatientBirthDate, header.StudyID = "O", "", "1"
        headers[header.SOPInstanceUID] = header
    return headers


def best(run) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
