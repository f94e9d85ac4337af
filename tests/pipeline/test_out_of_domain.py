"""The shipped model says of itself what it does not know: real patients are out of its domain, its drawings are not."""

import csv
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dicom_pipeline import Pipeline
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Domain
from dicom_pipeline.encoders.checkpoint import reference_file, weights_digest
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.reporting import read_report
from dicom_pipeline.research.store.rows import read_output
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.study_output import StudyOutput
from dicom_pipeline.scoring import load_reference

PHANTOM = Path(str(resources.files("dicom_pipeline") / "data" / "phantom"))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.from_config(Settings(planning={"selection": "uniform:8"}))


def counts(result) -> Counter:
    assert set(result.domains) == {embedding.frame.key for embedding in result.embeddings}
    return Counter(found.domain for found in result.domains.values())


def test_the_shipped_reference_fits_the_shipped_model_and_presets():
    """After a change of one of these presets: sample_data/draw_reference.py says how to make it anew."""
    reference = load_reference(reference_file(PHANTOM), weights_digest(PHANTOM))
    assert set(reference.presets) == {"ct-medgemma-report", "mr-percentile", "xray"}
    assert reference.exclusive
    for name, preset in reference.presets.items():
        assert preset.digest == load_preset(name).digest, name
    assert reference_file(PHANTOM).stat().st_size < 200_000


def test_the_samples_are_in_the_domain(pipeline, sample_data):
    for result in pipeline.process_paths([sample_data / "studies"]):
        assert counts(result)[Domain.OUT] == 0
        assert {score.domain for score in read_report(result.report).scores} == {""}


@pytest.mark.parametrize("folder", ["ct_ge_head", "ct_philips_tilt_s2010", "mr_ge_nih", "mr_t1_slab"])
def test_patients_are_not(pipeline, corpus, folder):
    (result,) = pipeline.process_paths([corpus / folder])
    assert result.embeddings
    assert counts(result)[Domain.IN] == 0
    assert {score.domain for score in read_report(result.report).scores} == {"out_of_domain"}


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm"])
def test_small_images_of_patients_are_not(pipeline, name):
    result = pipeline.process_study([get_testdata_file(name)])
    assert counts(result) == {Domain.OUT: 1}


def test_test_images_of_nema_are_not_but_for_one_mr(pipeline, corpus):
    """Patients' CT, CR and ultrasound; one MR, in two encodings, looks like a drawing to the model."""
    found = Counter()
    for result in pipeline.process_paths([corpus / "nema_wg04"]):
        modalities = {series.series_instance_uid: series.modality for series in result.plan.series}
        for embedding in result.embeddings:
            if (judged := result.domains.get(embedding.frame.key)) is not None:
                found[modalities[embedding.frame.series_instance_uid], judged.domain] += 1
    assert {modality for modality, _ in found} >= {"CT", "CR", "MR"}
    assert {modality for modality, domain in found if domain is Domain.IN} <= {"MR"}
    assert found["MR", Domain.OUT] > 2 * found["MR", Domain.IN]


def test_every_output_has_the_mark(pipeline, tmp_path):
    result = pipeline.process_study([get_testdata_file("MR_small.dcm")])
    output = OutputFolder(tmp_path)
    output.add(StudyOutput.of(result, pipeline.encoder.dimension))
    output.write()
    with (tmp_path / "scores.csv").open(newline="") as stream:
        assert {row["domain"] for row in csv.DictReader(stream)} == {"out-of-domain"}
    rows = read_output(tmp_path)
    assert rows["domain"].to_pylist() == ["out-of-domain"]
    assert rows["domain_distance"].to_pylist()[0] > 1
    page = (tmp_path / "report.html").read_text()
    assert "Out of domain:" in page
    assert "<b>out-of-domain</b>" in page
    assert output.plans[0]["series"][0]["out_of_domain"] == 1
    assert result.provenance.extra["domain reference"] == pipeline.recipe.reference.digest
