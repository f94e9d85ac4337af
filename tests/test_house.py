"""The house rules: imports, the code map, public names, documented commands and settings, a plug-in that stands alone."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name

import pytest
from typer.testing import CliRunner

import dicom_pipeline
from dicom_pipeline.cli.app import app
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Reason

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dicom_pipeline"
CALLED_BY_LIBRARIES = {"formatException"}
FORBIDDEN_NAMES = ("manager", "helper", "util", "utils", "common", "misc", "base", "handler")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_import_contracts_hold():
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]


def test_importing_the_package_loads_no_torch_and_starts_nothing():
    code = (
        "import sys, threading, dicom_pipeline;"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules;"
        "assert threading.active_count() == 1"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_just_these_and_importable():
    for name in dicom_pipeline.__all__:
        assert getattr(dicom_pipeline, name) is not None
    assert len(dicom_pipeline.__all__) <= 12


def test_the_package_docstring_lists_every_room():
    rooms = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    for room in rooms:
        assert room in (dicom_pipeline.__doc__ or ""), room


@pytest.mark.parametrize("room", sorted(str(p.parent.relative_to(PACKAGE)) for p in PACKAGE.glob("*/**/__init__.py")))
def test_a_room_docstring_names_its_files(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    for path in (PACKAGE / room).glob("*.py"):
        if path.stem != "__init__":
            assert re.search(rf"\b{path.stem}\b", text), f"{room}/__init__.py does not name {path.name}"


def test_no_room_is_crowded():
    for room in PACKAGE.rglob("__init__.py"):
        files = [p.name for p in room.parent.iterdir() if p.suffix in (".py", ".sql")]
        assert len(files) <= 14, f"{room.parent.name} has {len(files)} files: it has two subjects"


def test_no_file_has_an_empty_name_and_none_is_too_long():
    for path in sources():
        assert path.stem not in FORBIDDEN_NAMES, path
        assert len(path.read_text().splitlines()) <= 500, path


def test_the_glossary_is_short_and_says_where_the_code_has_its_words():
    text = (ROOT / "docs" / "glossary.md").read_text()
    rows = re.findall(r"^\| ([A-Z][^|]*) \| [^|]+ \| (.*?) ?\|$", text, re.MULTILINE)
    assert 20 <= len(rows) <= 30
    assert [word for word, place in rows if not place] == ["Series, Study"]
    for _, place in rows:
        if place:
            assert resolve_name("dicom_pipeline." + place.strip("`")) is not None


RETIRED = {
    "told",
    "tell",
    "words",
    "signs",
    "standing",
    "door",
    "slip",
    "kept",
    "taken",
    "said",
    "wanted",
    "mine",
    "nobody",
}
"""Words that carried a meaning of this house's own; the field has its own for each."""


def test_no_public_name_needs_a_dictionary():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+", node.name)}
                assert not parts & RETIRED, f"{path}: {node.name}"


def test_every_broad_except_says_why():
    for path in sources():
        for line in path.read_text().splitlines():
            if re.search(r"except\s*(Exception|BaseException)?\s*:|except Exception as", line):
                assert "the edge of" in line or "BaseException" in line, f"{path}: {line.strip()}"


def test_warnings_are_silenced_in_one_place():
    """Filters of warnings belong to the process: threads that set them by themselves end each other's silence."""
    assert [path.name for path in sources() if "catch_warnings" in path.read_text()] == ["warnings.py"]


def test_every_command_and_setting_is_in_the_docs():
    pages = "".join(p.read_text() for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    names = [command.callback.__name__.replace("_", "-") for command in app.registered_commands]
    for group in app.registered_groups:
        names += [
            f"{group.name} {command.name or command.callback.__name__.replace('_', '-')}"
            for command in group.typer_instance.registered_commands
        ]
    for name in names:
        assert f"dicom-pipeline {name}" in pages, name
    for section, field in Settings.model_fields.items():
        fields = getattr(field.annotation, "model_fields", {})
        for name in fields:
            assert f"`{name}`" in pages, f"{section}.{name}"


def test_every_reason_is_in_the_docs_with_its_sentence():
    page = (ROOT / "docs" / "selection.md").read_text()
    rows = [f"| `{reason.value}` | {reason.outcome.value} | {reason.sentence} |" for reason in Reason]
    assert re.findall(r"^\| `[a-z-]+` \| (?:excluded|failed) \|.*$", page, re.MULTILINE) == rows


def test_every_statement_of_the_catalog_is_run_and_every_function_is_called():
    """A merge leaves the one or the other behind. Decorated functions are called by whoever decorates."""
    text = "\n".join(path.read_text() for path in [*sources(), *sorted((ROOT / "plugins").rglob("*.py"))])
    words, quoted = Counter(re.findall(r"\w+", text)), Counter(re.findall(r'"(\w+)"', text))
    statements = re.findall(r"^-- name: (\w+)$", (PACKAGE / "catalog" / "queries.sql").read_text(), re.MULTILINE)
    assert [name for name in statements if not quoted[name]] == []
    assert [name for name, count in Counter(statements).items() if count > 1] == []
    lonely = {
        node.name
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.decorator_list and words[node.name] == 1
    }
    assert {name for name in lonely if not name.startswith("__")} == CALLED_BY_LIBRARIES


def test_help_texts_of_all_commands_are_whole():
    for command in app.registered_commands:
        result = CliRunner().invoke(app, [command.callback.__name__.replace("_", "-"), "--help"])
        assert result.exit_code == 0
        assert (command.callback.__doc__ or "").split(".")[0].split("\n")[0][:30] in result.output


def test_the_project_names_no_path_of_one_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".sql", ".html", ".sh") and path.exists():
            assert not re.search(r"/(wor)k/(main|shared)|/(ro)ot/", path.read_text()), name
