"""The points of IHE AI Results (AIR) that docs/report.md calls met, each held to a report; just those are called met."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.reporting import SR_CLASSES
from dicom_pipeline.reporting.equipment import contributing_equipment
from tests.peers.programs import pixelmed_errors_of
from tests.reporting.made import PROVENANCE, SMALL, report
from tests.reporting.test_companions import companions

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "report.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (\d+) \| .* \| (met|not met|cannot be verified|not made) \|", PAGE.split("## IHE AI Results")[1], re.MULTILINE
)


def content(item):
    """Every content item below one, and itself."""
    yield item
    for child in item.get("ContentSequence") or ():
        yield from content(child)


def text_of(made, code):
    """The values under a concept: of a text, a UID or a code's meaning."""
    found = set()
    for item in content(made):
        concept = item.get("ConceptNameCodeSequence")
        if concept and concept[0].CodeValue == code:
            value = item.get("TextValue") or item.get("UID")
            found.add(value or item.ConceptCodeSequence[0].CodeMeaning)
    return found


def groups_of(made):
    (measurements,) = (i for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return measurements.ContentSequence


def each_algorithm_is_contributing_equipment(made):
    pipeline, model = made.ContributingEquipmentSequence
    for item in (pipeline, model):
        purpose = item.PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
        assert all((item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions, item.DeviceUID))
    assert model.ManufacturerModelName == PROVENANCE.encoder


def the_tree_names_the_same(made):
    pipeline, model = made.ContributingEquipmentSequence
    assert text_of(made, "121014") == {pipeline.Manufacturer}
    assert text_of(made, "121015") == {pipeline.ManufacturerModelName}
    assert text_of(made, "121012") == {pipeline.DeviceUID}
    assert text_of(made, "111001") == {model.ManufacturerModelName}
    assert text_of(made, "111003") == {model.SoftwareVersions}


def other_weights_are_another_device(made):
    _, model = made.ContributingEquipmentSequence
    _, other = contributing_equipment(replace(PROVENANCE, weights="cd" * 32))
    assert model.DeviceUID != other.DeviceUID


def class_and_root_template(made):
    assert made.SOPClassUID == next(iter(SR_CLASSES)) == "1.2.840.10008.5.1.4.1.1.88.34"
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert made.ConceptNameCodeSequence[0].CodeValue == "126000"


def the_imaging_procedure_is_reported(made):
    assert text_of(made, "121058") == {"CT unspecified body region"}
    assert text_of(report("DX", label_set=SMALL)[0], "121058") == {"Imaging procedure"}


def measurements_have_unit_method_and_source(made):
    numbers = [item for item in content(made) if item.get("ValueType") == "NUM"]
    assert numbers
    for item in numbers:
        unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
        assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("{score}", "UCUM")
        below = {child.ConceptNameCodeSequence[0].CodeValue for child in item.ContentSequence}
        assert {"370129005", "121112"} <= below


def qualitative_findings_are_coded(made):
    marks = [
        i for i in content(made) if i.get("ValueType") == "CODE" and i.ConceptNameCodeSequence[0].CodeValue[:2] == "T-"
    ]
    assert {mark.ConceptCodeSequence[0].CodingSchemeDesignator for mark in marks} == {"SCT"}


def groups_are_tracked(made):
    again, _ = report("CT", label_set=SMALL, number=2)
    tracked = [sorted(map(str, text_of(each, "112040"))) for each in (made, again)]
    assert tracked[0] == tracked[1]
    for group in groups_of(made):
        codes = [i.ConceptNameCodeSequence[0].CodeValue for i in group.ContentSequence if i.ValueType != "IMAGE"]
        assert {"112039", "112040"} <= set(codes)


def images_are_referenced(made):
    evidence = {
        reference.ReferencedSOPInstanceUID
        for study in made.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    named = [
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in content(made) if i.get("ValueType") == "IMAGE"
    ]
    assert set(named) == evidence
    assert all(any(i.ValueType == "IMAGE" for i in group.ContentSequence) for group in groups_of(made))


def pictures_are_beside_the_report(made):
    assert [c.SOPClassUID for c in companions(wanted=["key-image"])[0]] == ["1.2.840.10008.5.1.4.1.1.7"]
    assert companions(wanted=["key-image"])[2].SOPClassUID == made.SOPClassUID


CHECKS = {
    "1": each_algorithm_is_contributing_equipment,
    "2": the_tree_names_the_same,
    "3": other_weights_are_another_device,
    "4": class_and_root_template,
    "5": the_imaging_procedure_is_reported,
    "6": measurements_have_unit_method_and_source,
    "7": qualitative_findings_are_coded,
    "8": groups_are_tracked,
    "9": images_are_referenced,
    "11": pictures_are_beside_the_report,
}
"""Number of a point in the page -> what holds a report to it. 10, the validator, is the test below."""


def test_the_page_calls_met_just_what_is_held_here():
    assert {number for number, state in ROWS if state == "met"} == {*CHECKS, "10"}
    assert [number for number, _ in ROWS] == [str(n) for n in range(1, len(ROWS) + 1)]


@pytest.mark.parametrize("number", CHECKS)
def test_a_point_that_is_met(number):
    CHECKS[number](report("CT", label_set=SMALL)[0])


@pytest.mark.system
def test_pixelmed_finds_no_error(tmp_path):
    """The gate of a connectathon; tests/reporting/test_matrix.py has all modalities and classes."""
    path = tmp_path / "r.dcm"
    path.write_bytes(encode(report("CT", label_set=SMALL)[0]))
    assert pixelmed_errors_of([path]) == {path: []}


def test_the_time_of_a_report_is_the_revisions():
    """Point 12, which is not met: AIR has the time at which the analysis began."""
    made, _ = report("CT", label_set=SMALL)
    assert (made.ContentDate, made.ContentTime) == ("20260102", "120000")


def test_companions_are_not_referenced_by_the_report():
    """Point 14: what the page says of our result tree."""
    made, _, sr = companions()
    assert "PertinentOtherEvidenceSequence" not in sr
    text = str(sr)
    assert not any(str(companion.SOPInstanceUID) in text for companion in made)
