"""The examples in README and docs run as written, and their links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dicom_pipeline.config import load_settings
from dicom_pipeline.planning import rules_from
from dicom_pipeline.scoring import load_label_set

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


def test_the_label_set_and_rule_table_of_the_docs_are_valid(tmp_path):
    (label_set,) = blocks(ROOT / "docs" / "label-sets.md", "toml")
    (tmp_path / "mine.toml").write_text(label_set)
    assert load_label_set(tmp_path / "mine.toml").labels[0].threshold == 0.5
    (rules,) = blocks(ROOT / "docs" / "selection.md", "toml")
    assert rules_from(tomllib.loads(rules)).one_of_several == "thin"


def test_the_destination_of_the_readme_is_valid(tmp_path):
    text = (ROOT / "README.md").read_text()
    block = re.search(r"(    \[\[destinations\]\]\n(?:    .*\n)+)", text)
    (tmp_path / "pipeline.toml").write_text(re.sub(r"^    ", "", block[1], flags=re.MULTILINE))
    assert load_settings(tmp_path / "pipeline.toml").destinations[0].ae_title == "ORTHANC"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
