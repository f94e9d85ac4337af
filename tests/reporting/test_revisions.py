"""What is made of two revisions of a study agrees with itself and with the images, entity by entity (dcentvfy)."""

import shutil
import subprocess

import pydicom
import pytest

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.reporting import COMPANIONS
from tests.peers.programs import need
from tests.reporting.made import SMALL, report

OF_THE_PROGRAM = "Different information entities for attribute - Element=<AccessionNumber>"
"""dcentvfy counts the attribute as of the series in some IODs, as of the study in others: it says so of any two such files."""


def differences(paths) -> list[str]:
    done = subprocess.run([need("dcentvfy"), *paths], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if OF_THE_PROGRAM not in line]


@pytest.mark.system
def test_all_objects_of_two_revisions_agree_with_their_images(tmp_path, sample_data):
    """Reports and companions of a study, whole and with its last image missing, beside the images themselves."""
    images = sorted((sample_data / "studies" / "ct-chest-nodule").glob("*.dcm"))
    pipeline = Pipeline.from_config(Settings(report=ReportSection(companions=COMPANIONS)))
    paths = list(images)
    for number, part in enumerate((images[:-1], images)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in part:
            shutil.copy(path, folder)
        result = pipeline.process_study([folder])
        for nth, made in enumerate((result.report, *result.companions)):
            paths.append(tmp_path / f"{number}-{nth}.dcm")
            paths[-1].write_bytes(encode(made))
    assert len(paths) == len(images) + 10
    assert differences(paths) == []
    altered = pydicom.dcmread(paths[-1])
    altered.PatientName = "Another^Patient"
    altered.save_as(paths[-1])
    assert differences(paths) != []


@pytest.mark.parametrize(
    ("keyword", "stated", "taken"),
    [
        ("PatientAge", "061Y", "061Y"),
        ("PatientAge", "sixty", None),
        ("PatientWeight", "72.5", 72.5),
        ("PatientSize", "0", None),
    ],
)
def test_what_the_images_say_of_the_patient_at_the_study_is_taken_over_where_it_makes_sense(keyword, stated, taken):
    tags = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        setattr(tags, keyword, stated)
    made, _ = report("CT", {keyword: tags[keyword].value}, label_set=SMALL)
    assert made.get(keyword) == taken
