"""CT that is not in Hounsfield units: rendered in its own window, or left out of a series that is."""

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_pipeline.domain import Reason
from dicom_pipeline.imaging import load_preset
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.recognition.units import not_hounsfield
from dicom_pipeline.planning.recognition.words import selection_terms
from tests.planning.made import only_series, stack, synthetic

DERIVED = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, ""),
        ({"RescaleType": "HU"}, ""),
        ({"RescaleType": "US"}, ""),
        ({"RescaleSlope": None}, ""),
        ({"PixelRepresentation": 1, "RescaleIntercept": 0}, ""),
        ({"SamplesPerPixel": 3, "RescaleIntercept": None}, ""),
        ({"Modality": "MR", "RescaleIntercept": None}, ""),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "SeriesDescription": "CBF protocol"}, ""),
        ({"RescaleIntercept": None, "RescaleSlope": None}, "no Rescale Intercept"),
        ({"RescaleIntercept": 0}, ""),
        ({"RescaleIntercept": 0, **DERIVED, "RescaleType": "HU"}, ""),
        (
            {"RescaleIntercept": 0, **DERIVED, "RescaleType": "US"},
            "derived, and no value can be below 0, as that of air is",
        ),
        ({"RescaleIntercept": 0, **DERIVED}, "derived, and no value can be below 0, as that of air is"),
        ({"RescaleType": "PCT"}, "Rescale Type is not HU"),
        ({"RescaleType": "Z_EFF"}, "Rescale Type is not HU"),
        ({"ImageType": ["DERIVED", "SECONDARY", "CBF_RGB"]}, "a map (CBF)"),
        ({**DERIVED, "SeriesDescription": "Tmax 5mm"}, "a map (TMAX)"),
    ],
)
def test_values_in_hu_and_others(values, why):
    assert not_hounsfield(synthetic(1, **values)) == why


def test_the_rescale_of_an_enhanced_ct_stands_in_its_functional_groups():
    transformation, group = Dataset(), Dataset()
    transformation.RescaleIntercept, transformation.RescaleSlope, transformation.RescaleType = -1024, 1, "HU"
    group.PixelValueTransformationSequence = Sequence([transformation])
    header = synthetic(1, RescaleIntercept=None, RescaleSlope=None, SharedFunctionalGroupsSequence=Sequence([group]))
    assert not_hounsfield(header) == ""


@pytest.mark.parametrize("preset", [None, "ct-single:lung"])
def test_a_series_that_is_not_in_hu_is_rendered_in_its_own_window(preset):
    series = only_series(stack(4, RescaleIntercept=None, RescaleSlope=None), preset=preset)
    assert series.preset == "own-window"
    assert "values are not Hounsfield units (no Rescale Intercept)" in series.choice_note
    assert only_series(stack(4), preset=preset).preset == (preset or "ct-medgemma-report")


def test_other_presets_are_left_alone():
    assert only_series(stack(4, RescaleIntercept=None), preset="xray").preset == "xray"


def test_a_map_by_rule_is_rendered_in_its_own_window():
    rules = rules_from({"render": [{"preset": "ct-medgemma-report"}], "keep": ["derived"]})
    series = only_series(stack(4, ImageType=["DERIVED", "SECONDARY", "CBF"]), rules)
    assert (series.preset, len(series.frames)) == ("own-window", 4)


def test_single_images_in_other_units_are_left_out_of_a_series_in_hu():
    series = only_series([*stack(4), synthetic(9, RescaleType="PCT")])
    assert (series.preset, len(series.frames)) == ("ct-medgemma-report", 4)
    assert [item.reason for item in series.excluded] == [Reason.NOT_HOUNSFIELD]


def test_the_presets_of_the_file_exist_and_window():
    words = selection_terms()
    assert {load_preset(name).method for name in words.hounsfield_presets} == {"windows"}
    assert load_preset(words.preset_without_hounsfield).method == "voi"
