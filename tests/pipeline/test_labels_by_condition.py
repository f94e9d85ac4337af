"""A knee MR gets no brain labels: in the report, in every file, in the store and in words."""

import csv
import json
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from dicom_pipeline import Pipeline
from dicom_pipeline.cli.app import app
from dicom_pipeline.config import Settings
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.reporting import read_report
from dicom_pipeline.research.store.rows import read_output
from dicom_pipeline.results.folder import OutputFolder
from dicom_pipeline.results.study_output import StudyOutput

BRAIN, KNEE = "2.25.71", "2.25.72"
CHEST = "2.25.73"
SETS = ["mr-brain", "cxr-13"]


def drawn(source: Path, target: Path, series: str, study: str = "2.25.70", **values) -> None:
    """The drawings of a sample study as a series of another study, with other attributes."""
    for number, path in enumerate(sorted(source.rglob("*.dcm")), 1):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
        for name, value in values.items():
            setattr(dataset, name, value)
        dataset.save_as(target / f"{series}.{number}.dcm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample_data) -> Path:
    """A study of a brain and a knee MR."""
    made = tmp_path_factory.mktemp("study")
    drawings = sample_data / "studies" / "mr-brain-normal"
    drawn(drawings, made, BRAIN)
    drawn(drawings, made, KNEE, BodyPartExamined="KNEE", SeriesDescription="PD FS SAG", StudyDescription="MR KNEE")
    return made


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.from_config(Settings(scoring={"label_sets": SETS}, planning={"selection": "middle:1"}))


@pytest.fixture(scope="module")
def results(folder, pipeline, tmp_path_factory):
    result = pipeline.process_study([folder])
    output = OutputFolder(tmp_path_factory.mktemp("out"))
    output.add(StudyOutput.of(result, pipeline.encoder.dimension))
    output.write()
    return result, output.folder


def test_only_the_brain_is_scored(results):
    result, _ = results
    assert {series.series_instance_uid for series in result.plan.series if series.frames} == {BRAIN, KNEE}
    assert {score.series_instance_uid for score in result.scores} == {BRAIN}
    assert len(result.embeddings) == 2
    assert result.state is RevisionState.DONE


def test_report_and_files_agree(results):
    result, out = results
    labels = {score.label for score in result.series_scores}
    assert {(s.series_instance_uid, s.label) for s in read_report(result.report).scores} == {(BRAIN, x) for x in labels}
    with (out / "scores.csv").open(newline="") as stream:
        assert {(row["series_instance_uid"], row["label"]) for row in csv.DictReader(stream)} == {
            (BRAIN, x) for x in labels
        }
    rows = read_output(out)
    stored = dict(zip(rows["series_instance_uid"].to_pylist(), rows["score_labels"].to_pylist(), strict=True))
    assert (set(stored[BRAIN]), stored[KNEE]) == (labels, [])


def test_plan_and_page_say_why(results):
    _, out = results
    (study,) = json.loads((out / "plan.json").read_text())["studies"]
    found = {series["series_instance_uid"]: series["label_sets"] for series in study["series"]}
    assert [(x["label_set"], len(x["labels"])) for x in found[BRAIN]] == [("mr-brain", 5), ("cxr-13", 0)]
    assert [(x["label_set"], len(x["labels"])) for x in found[KNEE]] == [("mr-brain", 0), ("cxr-13", 0)]
    (reason,) = found[KNEE][0]["reasons"]
    assert reason.startswith("body part KNEE, expected")
    assert found[BRAIN][1]["reasons"] == ["modality MR, expected CR or DX"]
    assert reason.replace("'", "&#39;") in (out / "report.html").read_text()


def test_the_fingerprint_covers_what_is_scored(results, folder, pipeline):
    result, _ = results
    one = Settings(scoring={"label_set": "mr-brain"}, planning={"selection": "middle:1"})
    provenance = result.provenance
    assert provenance.label_set == "mr-brain 2; cxr-13 2"
    assert Pipeline.from_config(one).recipe.provenance(result.plan).fingerprint != provenance.fingerprint


def test_explain_says_the_same_without_a_model(folder, tmp_path):
    (tmp_path / "pipeline.toml").write_text(f"[scoring]\nlabel_sets = {json.dumps(SETS)}\n")
    run = CliRunner().invoke(app, ["explain", str(folder), "--config", str(tmp_path / "pipeline.toml"), "--json"])
    assert run.exit_code == 0
    (study,) = json.loads(run.stdout)["studies"]
    counts = {x["series_instance_uid"]: [len(y["labels"]) for y in x["label_sets"]] for x in study["series"]}
    assert counts == {BRAIN: [5, 0], KNEE: [0, 0]}
    table = CliRunner().invoke(app, ["explain", str(folder), "--label-set", "mr-brain"]).stdout
    assert "mr-brain: 5 labels apply" in table
    assert "mr-brain: no labels apply" in table


def test_a_study_without_any_label_says_so(folder, tmp_path, pipeline):
    knee = sorted(folder.glob(f"{KNEE}.*.dcm"))
    result = pipeline.process_study(knee)
    assert (result.report, result.scores, len(result.embeddings)) == (None, (), 1)
    assert result.state is RevisionState.NO_LABEL
    plan = StudyOutput.of(result, pipeline.encoder.dimension).plan
    assert (plan["state"], plan["state_sentence"]) == ("no-label", RevisionState.NO_LABEL.sentence)
    assert not any(word in RevisionState.NO_LABEL.sentence for word in ("no image", "could not be used"))


def test_rules_choose_sets_and_two_views_of_one_series_are_told_apart(sample_data, tmp_path):
    radiograph = sample_data / "studies" / "cr-chest-normal"
    images, rules = tmp_path / "images", tmp_path / "rules"
    images.mkdir()
    rules.mkdir()
    drawn(radiograph, images, CHEST, InstanceNumber=1)
    (lateral,) = (pydicom.dcmread(path) for path in images.iterdir())
    lateral.SOPInstanceUID = lateral.file_meta.MediaStorageSOPInstanceUID = f"{CHEST}.9"
    lateral.ViewPosition = "LL"
    lateral.save_as(images / "lateral.dcm")
    (rules / "frontal.toml").write_text(
        'kind = "zero-shot-sigmoid"\napplies_to = { view = ["PA", "AP"] }\n[[label]]\nname = "Frontal"\npositive = "image"\n'
    )
    (rules / "rules.toml").write_text(
        '[[render]]\npreset = "xray"\n[[score]]\nModality = ["CR"]\nlabel_sets = ["frontal.toml"]\n'
    )
    pipeline = Pipeline.from_config(Settings(planning={"rules_file": rules / "rules.toml"}))
    result = pipeline.process_study([images])
    assert len(result.embeddings) == 2
    (frame_score,) = result.frame_scores
    assert (frame_score.label, frame_score.frame.sop_instance_uid) == ("Frontal", f"{CHEST}.1")
    assert len(read_report(result.report).scores) == 2
    for_all = Pipeline.from_config(Settings(planning={"rules_file": rules / "rules.toml"}), label_set="cxr-13")
    assert {score.label for score in for_all.process_study([images]).scores} == {
        x.name for x in for_all.recipe.labels.labels
    }
