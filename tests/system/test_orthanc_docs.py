"""The page "Orthanc in ten minutes": its commands, as written but for the ports, which other tests may hold."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_pipeline.config import load_settings
from tests.peers.orthanc import OUR_PLUGIN, PYTHON_PLUGIN
from tests.peers.programs import free_port, need

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "orthanc.md"

pytestmark = pytest.mark.system


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_orthanc_in_ten_minutes(tmp_path):
    need("curl")
    orthanc = need("Orthanc")
    if not PYTHON_PLUGIN.exists():
        pytest.skip("Orthanc's Python plugin is not installed (Debian: orthanc-python)")
    for name in ("plugins", "sample_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dicom-pipeline").write_text(f'#!/bin/sh\nexec {sys.executable} -m dicom_pipeline "$@"\n')
    (programs / "dicom-pipeline").chmod(0o755)
    (programs / "Orthanc").symlink_to(orthanc)
    text = "set -e\ntrap 'kill $PIPELINE $ORTHANC 2>/dev/null || true' EXIT\n" + "".join(blocks("sh"))
    listener, web = free_port(), free_port()
    text = text.replace("8042", str(free_port())).replace("4242", str(free_port())).replace("8448", str(web))
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DICOM_PIPELINE_LISTENER__PORT": str(listener),
        "DICOM_PIPELINE_SERVICE__WEB_PORT": str(web),
    }
    command = ["timeout", "240", "bash", "-c", text]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    made = tmp_path / "orthanc-try"
    report = json.loads((made / "report.json").read_text())
    assert "Nodule" in {score["label"] for score in report["scores"]}
    assert "Research use only" in (made / "report.html").read_text()
    assert "25" in result.stdout


def test_the_settings_and_configurations_of_the_page_are_valid(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANC_PASSWORD", "x")
    (source,) = blocks("toml")
    (tmp_path / "pipeline.toml").write_text(source)
    assert load_settings(tmp_path / "pipeline.toml").fetching[0].fetch.modalities == ("CT", "MR")
    assert len([json.loads("{" + block + "}") for block in blocks("json")]) == 4


def test_the_page_names_every_option_route_and_rule_key():
    page, plugin = PAGE.read_text(), OUR_PLUGIN.read_text()
    options = re.search(r"DEFAULTS: .*? = \{(.*?)\n\}", plugin, flags=re.DOTALL)[1]
    names = re.findall(r'^    "(\w+)":', options, flags=re.MULTILINE)
    assert len(names) == 10
    for name in [*names, *re.findall(r'"(\w+)"', re.search(r"RULE_KEYS = \((.*?)\)", plugin)[1])]:
        assert f"`{name}`" in page, name
    for route in re.findall(r'"([\w-]+)"', re.search(r"ROUTES = \((.*?)\)", plugin)[1]):
        assert f"/medsiglip/studies/{{id}}/{route}`" in page, route
