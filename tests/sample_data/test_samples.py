"""The sample studies: made anew byte for byte, valid, small, and scored in line with what was drawn."""

import csv
import subprocess
import sys
from collections import defaultdict

import pytest

from dicom_pipeline import Pipeline
from dicom_pipeline.domain import Domain
from tests.peers.programs import dciodvfy_errors


def test_drawing_again_gives_the_same_bytes(sample_data, tmp_path):
    subprocess.run(
        [sys.executable, sample_data / "make.py", "--out", tmp_path / "again"], check=True, capture_output=True
    )
    names = sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(sample_data / "studies") for p in (sample_data / "studies").rglob("*") if p.is_file()
    )
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (sample_data / "studies" / name).read_bytes(), name


def test_they_are_small_and_plainly_synthetic(sample_data):
    import pydicom

    files = list((sample_data / "studies").rglob("*.dcm"))
    assert sum(p.stat().st_size for p in files) < 5_000_000
    for path in files:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.file_meta.TransferSyntaxUID.is_compressed


@pytest.mark.system
def test_they_are_valid(sample_data):
    for path in sorted((sample_data / "studies").rglob("*.dcm"))[::5]:
        assert dciodvfy_errors(path) == [], path


def test_the_phantom_scores_the_samples_as_they_were_drawn(sample_data):
    truth = defaultdict(set)
    with (sample_data / "studies" / "truth.csv").open() as stream:
        for row in csv.DictReader(stream):
            truth[row["study_instance_uid"]] |= set(filter(None, row["findings"].split(";")))
    words = {"Nodule": "nodule", "Pleural effusion": "pleural effusion", "Cardiomegaly": "cardiomegaly"}
    words |= {"Brain lesion": "lesion", "Enlarged ventricles": "enlarged ventricles"}
    scores = defaultdict(lambda: ([], []))
    for result in Pipeline.from_config().process_paths([sample_data / "studies"]):
        found = truth[result.plan.study_instance_uid]
        beyond = [frame.key for frame in result.plan.frames if result.domains[frame.key].domain is not Domain.IN]
        assert beyond == [], "the drawings of a demo are what the model is known for"
        for score in result.series_scores:
            scores[score.label][words[score.label] in found].append(score.value)
    assert set(scores) == set(words)
    for label, (without, having) in scores.items():
        assert max(without) < min(having, default=0.5), (label, without, having)
