"""The examples in README and docs run as written, and their links lead somewhere."""

import csv
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline.assembly.assembler import completion_rules
from dicom_pipeline.config import load_settings
from dicom_pipeline.planning import rules_from
from dicom_pipeline.reporting import read_report
from dicom_pipeline.scoring import LabelChoice, load_label_set
from dicom_pipeline.service.starting.checks import check_rules
from dicom_pipeline.service.wiring import destinations_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path):
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    command = [
        sys.executable,
        "-m",
        "dicom_pipeline",
        "process",
        "sample_data/studies/cr-chest-normal",
        "--out",
        "results",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    examples = blocks(ROOT / "README.md", "python")
    assert len(examples) == 2
    for example in examples:
        result = subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
    assert "Nodule" in result.stdout


def run_console(page: Path, folder: Path) -> str:
    """Run the `$` lines of a page's console blocks in a folder; TOML blocks before them become pipeline.toml."""
    printed = ""
    if not (folder / "sample_data").exists():
        (folder / "sample_data").symlink_to(ROOT / "sample_data")
    for language, text in re.findall(r"```(console|toml)\n(.*?)```", page.read_text(), flags=re.DOTALL):
        if language == "toml":
            (folder / "pipeline.toml").write_text(text)
            continue
        for line in (line[2:] for line in text.splitlines() if line.startswith("$ ")):
            words = line.split()
            start = [sys.executable, "-m", "dicom_pipeline"] if words[0] == "dicom-pipeline" else [sys.executable]
            result = subprocess.run([*start, *words[1:]], cwd=folder, capture_output=True, text=True, check=False)
            assert result.returncode == 0, f"{line}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
            printed += result.stdout
    return printed


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("docs")


def test_train_a_probe_runs_as_written_and_scores_a_live_study(workplace):
    printed = run_console(ROOT / "docs" / "probes.md", workplace)
    assert "Cardiomegaly" in printed
    with (workplace / "cohort" / "scored" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {"Nodule", "Nodule [probe chest]"} <= {row["label"] for row in rows}
    assert {row["kind"] for row in rows} == {"zero-shot-pair", "probe-probability"}
    (report,) = (workplace / "cohort" / "scored" / "reports").glob("*.dcm")
    read = read_report(pydicom.dcmread(report))
    assert any(score.label == "Nodule [probe chest]" for score in read.scores)
    if shutil.which("dciodvfy"):
        checked = subprocess.run(["dciodvfy", report], capture_output=True, text=True, check=False)
        assert not re.findall("^Error.*", checked.stderr + checked.stdout, flags=re.MULTILINE)


def test_reproduce_an_evaluation_runs_as_written(workplace):
    run_console(ROOT / "docs" / "evaluation.md", workplace)
    result = json.loads((workplace / "cohort" / "evaluation" / "results.json").read_text())
    assert {f["label"] for f in result["findings"]} == {"Nodule", "Pleural effusion", "Cardiomegaly"}
    assert result["mean_auc"] > 0.8
    assert result["mean_probe_auc"] > 0.8


def test_choose_a_model_runs_as_written(workplace):
    assert "2.7 million" in run_console(ROOT / "docs" / "models.md", workplace)


def test_the_label_set_and_rule_table_of_the_docs_are_valid(tmp_path):
    label_set, scoring, score_rules = blocks(ROOT / "docs" / "label-sets.md", "toml")
    (tmp_path / "mine.toml").write_text(label_set)
    mine = load_label_set(tmp_path / "mine.toml")
    assert (mine.labels[0].threshold, len(mine.applies_to), len(mine.labels[1].applies_to)) == (0.5, 2, 1)
    (tmp_path / "pipeline.toml").write_text(scoring)
    settings = load_settings(tmp_path / "pipeline.toml")
    named = rules_from(tomllib.loads(score_rules)).named_label_sets
    assert len(LabelChoice.load(settings.scoring.chosen, named).sets) == 3
    (rules,) = blocks(ROOT / "docs" / "selection.md", "toml")
    assert rules_from(tomllib.loads(rules)).one_of_several == "thin"


def test_the_completion_rules_of_the_docs_are_taken(tmp_path):
    (text,) = blocks(ROOT / "docs" / "keeping.md", "toml")
    (tmp_path / "pipeline.toml").write_text(text)
    chest, default = completion_rules(load_settings(tmp_path / "pipeline.toml").assembly)
    assert (chest.name, chest.quiet_seconds, chest.at_hard_cap) == ("chest-ct", 20, "hold")
    assert default.hard_cap_seconds == 3600


def test_the_page_of_settings_is_what_the_settings_say():
    made = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text() == made, "run: python docs/make_configuration.py"


def test_the_destinations_of_the_docs_are_taken(tmp_path, monkeypatch):
    (text,) = blocks(ROOT / "docs" / "deliveries.md", "toml")
    labels = (ROOT / "dicom_pipeline" / "data" / "label_sets" / "phantom.toml").read_text()
    (tmp_path / "my-labels.toml").write_text(labels.replace('name = "Nodule"', 'name = "Nodule"\nthreshold = 0.5'))
    (tmp_path / "pipeline.toml").write_text(text)
    monkeypatch.setenv("ARCHIVE_TOKEN", "secret")
    settings = load_settings(tmp_path / "pipeline.toml")
    check_rules(settings)
    assert [d.name for d in destinations_of(settings)] == ["pacs", "nodules", "ct2"]
    json.loads("{" + blocks(ROOT / "docs" / "deliveries.md", "json")[0] + "}")


def test_the_destination_of_the_readme_is_valid(tmp_path):
    text = (ROOT / "README.md").read_text()
    block = re.search(r"(    \[\[peers\]\]\n(?:    .*\n)+)", text)
    (tmp_path / "pipeline.toml").write_text(re.sub(r"^    ", "", block[1], flags=re.MULTILINE))
    assert load_settings(tmp_path / "pipeline.toml").peers[0].ae_title == "ORTHANC"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_test_that_the_page_on_security_names_is_there():
    named = re.findall(r"`(tests/[^`]+)`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 40
    for place in named:
        file, _, name = place.partition("::")
        assert not name or f"def {name}(" in (ROOT / file).read_text(), place


def test_the_architecture_names_every_room_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("## The rooms")[1].split("##")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    package = ROOT / "dicom_pipeline"
    assert named == {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        assert (package / path).exists(), path
