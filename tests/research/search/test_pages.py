"""The commands and examples of the pages on embeddings run as written, in one folder, page after page."""

import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_pipeline.cli.app import app
from dicom_pipeline.research.export.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[3]
PROCESS = "dicom-pipeline process sample_data/studies --out results --select uniform:6"
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    command = [sys.executable, "-m", *PROCESS.replace("dicom-pipeline", "dicom_pipeline").split()]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def run(line: str) -> str:
    """One line of a bash block: in this process where it is just a command, else by bash."""
    if "$" in line:
        script = line.replace("dicom-pipeline", f"{sys.executable} -m dicom_pipeline").replace(
            "$(python", f"$({sys.executable}"
        )
        done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the console does
        result = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["store", "export", "search", "classifier"])
def test_a_page_does_what_it_says(name, processed, monkeypatch, capsys):
    here = processed / name
    here.mkdir()
    for shared in ("sample_data", "results"):
        (here / shared).symlink_to(processed / shared)
    monkeypatch.chdir(here)
    blocks = BLOCK.findall((ROOT / "docs" / f"{name}.md").read_text())
    assert {language for language, _ in blocks} == {"bash", "python"}
    shown = ""
    for language, text in blocks:
        if language == "python":
            exec(compile(text, f"{name}.md", "exec"), {})
            shown += capsys.readouterr().out
            continue
        lines = [line for line in text.splitlines() if line != PROCESS]
        shell = any("$" in line for line in lines)
        shown += "".join(run(line) for line in (["\n".join(lines)] if shell else lines))
    for words in SAYS[name]:
        assert words in shown, shown


SAYS = {
    "store": ["results: 5 studies", "9f5707bc33ba4e9a", "20 12 (12, 160)"],
    "export": ["Pseudonymised.", "PHANTOM-", "(18, 160)", "2.25."],
    "search": [
        "similarity",
        '"similarity": ',
        "found.html",
        "map.png: 20 of 20",
        "map.html",
        "second_sop_instance_uid",
    ],
    "classifier": ["20 frames of 5 patients, AUC"],
}


def test_the_pages_made_what_they_name(processed):
    page = (processed / "search" / "found.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 20
    assert "http://127.0.0.1:8042/ohif/viewer?StudyInstanceUIDs=2.25." in page
    assert (processed / "search" / "map.png").stat().st_size > 10_000
    assert (processed / "export" / "cohort" / "README.md").exists()
    assert (processed / "export" / "exports.jsonl").stat().st_mode & 0o077 == 0


def test_the_vocabulary_of_the_page_is_valid(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), flags=re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    terms = Vocabulary.load(tmp_path / "mine.toml").terms
    assert terms["model"].text("our prototype 7t") == "Our Prototype 7T"
    assert terms["kernel"].text("XR12") == "XR12"
    assert terms["kernel"].text("lung") == "LUNG"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("export --out e --from nowhere", "neither an embedding store nor"),
        ("export --out e --from results --where modality=CT", "single quotes"),
        ("export --out e --from results --key e/key", "must stay with you"),
        ("export --out e --from results --pooling best", "top-k:N"),
        ("export --out e --from results --vocabulary nothing.toml", "cannot read the vocabulary"),
        ("export --out sample_data --from results", "not empty"),
        ("search --from results", "one thing"),
        ("search --like 1.2.3 --from results", "neither a file nor"),
        ("search x --from results --viewer nothing", "NAME=URL"),
        ("plot --out map.gif --from results", ".png or .html"),
        ("plot --out map.png --color-by colour --from results", "no column 'colour'"),
        ("outliers --by embedding --from results", "no column 'embedding'"),
        ("pseudonyms resolve P1 --from results --key none.key", "--key"),
        ("store verify", "has `dicom-pipeline serve` run"),
    ],
)
def test_what_goes_wrong_is_said(line, words, processed, monkeypatch):
    monkeypatch.chdir(processed)
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code != 0
    assert words in str(result.exception)
    assert not (processed / "e").exists()
