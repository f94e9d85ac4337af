"""The file that Orthanc loads is what its parts give, and the parts hold what the project asks of every module."""

import ast
import re
import runpy
import sys

import pytest

from dicom_pipeline.dicom.uids import DEVICE_UID, NAMESPACE
from tests.peers.orthanc import OUR_PLUGIN
from tests.peers.orthanc_module import OrthancModule

FOLDER = OUR_PLUGIN.parent
PARTS = sorted((FOLDER / "medsiglip").glob("*.py"))


def test_the_built_file_is_current():
    built = runpy.run_path(str(FOLDER / "build.py"))["build"]()
    assert OUR_PLUGIN.read_text(encoding="utf-8") == built, "run: make plug-in"


def test_the_built_file_is_for_the_python_of_older_orthancs():
    tree = ast.parse(OUR_PLUGIN.read_text(encoding="utf-8"), feature_version=(3, 9))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} - {"orthanc"} <= sys.stdlib_module_names


def test_uids_are_those_of_the_package():
    text = OUR_PLUGIN.read_text(encoding="utf-8")
    assert f'\nOWN_DEVICE_UID = "{DEVICE_UID}"\n' in text
    assert f'\nUID_NAMESPACE = "{NAMESPACE}"\n' in text
    assert f"local OWN_DEVICE_UID = '{DEVICE_UID}'" in (FOLDER / "medsiglip.lua").read_text(encoding="utf-8")


def test_only_constants_holds_uids_and_imports_the_package():
    for path in PARTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b2\.25\.\d{5}|\b[0-9a-f]{8}-[0-9a-f]{4}-|\"\d{6,9}\"", text), path.name
        assert ("dicom_pipeline" in re.findall(r"^from (\w+)", text, re.MULTILINE)) == (path.stem == "constants")


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_a_part_is_importable_short_and_named(path, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orthanc", OrthancModule(tmp_path))
    monkeypatch.syspath_prepend(str(FOLDER))
    name = "medsiglip" if path.stem == "__init__" else f"medsiglip.{path.stem}"
    try:
        __import__(name)
    finally:
        for module in [module for module in sys.modules if module.partition(".")[0] == "medsiglip"]:
            del sys.modules[module]
    assert len(path.read_text(encoding="utf-8").splitlines()) < 250
    if path.stem != "__init__":
        assert f"`{path.stem}`" in (FOLDER / "medsiglip" / "__init__.py").read_text(encoding="utf-8")
        assert f'"{path.stem}"' in (FOLDER / "build.py").read_text(encoding="utf-8")


def test_every_broad_except_says_why():
    for path in PARTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"except\s*(Exception|BaseException)?\s*:|except (Base)?Exception as", line):
                assert "the edge of" in line, f"{path.name}: {line.strip()}"


def test_what_cannot_be_joined_is_refused(tmp_path):
    build = runpy.run_path(str(FOLDER / "build.py"))
    for statement in ("import json as j", "from medsiglip.routes import Routes"):
        node = ast.parse(statement).body[0]
        with pytest.raises(build["BuildError"]):
            build["add_imports"]("sending", node, {})
    with pytest.raises(build["BuildError"]):
        build["literal"]("NAME", 'a\nb"""')
