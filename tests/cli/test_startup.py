"""What starting the command line costs, counted in modules, and completion by the shells."""

import json
import os
import subprocess
import sys

import pytest

from dicom_pipeline.catalog import Catalog

HEAVY = {"pydicom", "highdicom", "pynetdicom", "orthanc_api_client", "requests", "numpy", "torch", "pyarrow", "pandas"}
HEAVY |= {"transformers", "lancedb", "sklearn", "PIL"}

COMMAND = """
import json, sys
sys.argv[0] = "dicom-pipeline"
from dicom_pipeline.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def run(*arguments, **environment):
    """The command `dicom-pipeline` in a process of its own; its standard error ends with the modules it loaded."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def loaded(result):
    """Top-level names of the modules that a command loaded."""
    return {name.partition(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["export", "--help"]])
def test_help_loads_no_library_but_the_parser(arguments):
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert loaded(result) & (HEAVY | {"rich", "jinja2"}) == set()


def test_help_of_all_commands_loads_no_settings():
    assert "pydantic" not in loaded(run("--help"))


def test_presets_loads_nothing_heavy():
    result = run("presets")
    assert "ct-medgemma-report" in result.stdout
    assert loaded(result) & HEAVY == set()


def test_status_loads_nothing_heavy(tmp_path):
    Catalog(tmp_path / "catalog.sqlite").close()
    settings = tmp_path / "pipeline.toml"
    settings.write_text(f'[spool]\nfolder = "{tmp_path}"\n')
    result = run("status", "--config", settings)
    assert "0 instances of 0 studies" in result.stdout, result.stderr
    assert loaded(result) & HEAVY == set()


def test_the_package_itself_loads_nothing():
    code = "import dicom_pipeline, json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded(result) & (HEAVY | {"pydantic", "typer"}) == set()


def complete(shell, line):
    """What a shell is offered at the end of a command line, by the protocol of its completion script."""
    asked = {"_DICOM_PIPELINE_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        words = line.split(" ")
        asked |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    else:
        asked |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = run(**asked)
    assert loaded(result) & HEAVY == set()
    return result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_values_of_options(shell):
    commands = complete(shell, "dicom-pipeline st")
    assert "status" in commands
    assert "store" in commands
    assert "export" not in commands
    assert "re-embed" in complete(shell, "dicom-pipeline store re")
    assert "--dry-run" in complete(shell, "dicom-pipeline clean --dr")
    formats = complete(shell, "dicom-pipeline export --format ")
    assert "parquet" in formats
    assert "hdf5" in formats


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish")])
def test_completion_is_shown_and_installed(shell, file, tmp_path):
    explicit = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    assert "_DICOM_PIPELINE_COMPLETE=complete_" in run("--show-completion", shell, **explicit).stdout
    assert run("--install-completion", shell, **explicit).returncode == 0
    assert (tmp_path / file).exists()
