"""docs/report.md says what is in a report: its tables of codes and its tree are held to the data and to a real report."""

import re
import tomllib
from pathlib import Path

import pytest

from dicom_pipeline.reporting import codes
from dicom_pipeline.scoring import load_label_set
from tests.reporting.made import report

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
TABLES = tomllib.loads((ROOT / "dicom_pipeline" / "data" / "codes.toml").read_text(encoding="utf-8"))


def code_rows() -> list[str]:
    return [
        f"| {table} `{key}` | {value} ({scheme}) | {meaning} |"
        for table in ("concept", "derivation", "method", "procedure")
        for key, (value, scheme, meaning) in TABLES[table].items()
    ]


def label_rows() -> list[str]:
    rows = []
    for label in load_label_set("cxr-13").labels:
        scored, site = codes.label_concept(label), codes.site_concept(label)
        rows.append(
            f"| {label.name} | {codes.score_concept(label).value} ({codes.private_scheme()}) "
            f"| {scored.value} ({scored.scheme_designator}) {scored.meaning} "
            f"| {site.value} ({site.scheme_designator}) {site.meaning} |"
        )
    return rows


@pytest.mark.parametrize("rows", [code_rows(), label_rows()], ids=["codes", "labels"])
def test_the_tables_of_codes_are_those_of_the_data(rows):
    assert "\n".join(rows) in PAGE


def test_every_code_of_the_data_is_used_by_the_code():
    source = "".join(path.read_text() for path in (ROOT / "dicom_pipeline" / "reporting").glob("*.py"))
    unused = [key for key in TABLES["concept"] if f'"{key}"' not in source and not key.startswith("group_")]
    assert unused == []


def test_the_tree_of_the_page_is_that_of_a_report():
    """Each code of the annotated example stands in a report, and what a report has at its first two levels in the example."""
    (tree,) = re.findall(r"```\n(Imaging Measurement Report.*?)```", PAGE, re.DOTALL)
    made, _ = report("CT")
    said = {e.value for e in made.iterall() if e.keyword in ("CodeValue", "CodeMeaning")}
    for code in re.findall(r"\((\w+), (?:SCT|DCM)\)", tree):
        assert code in said
    for item in (*made.ContentSequence, *made.ContentSequence[-1].ContentSequence):
        meaning = item.ConceptNameCodeSequence[0].CodeMeaning
        assert meaning.split(" ")[0] in tree, meaning
