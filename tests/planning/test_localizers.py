"""Localizers by name, in several languages, and by geometry; what only looks like one is used."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.domain import Reason
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.recognition.localizers import find_localizers
from tests.planning.made import AXIAL, CORONAL, SAGITTAL, plan_of, reasons_of, stack, synthetic

MR = {"Modality": "MR"}


def planes(counts: dict, step: float, thickness: float, **values):
    """An MR series of several orientations: how many slices each, their distance and thickness."""
    headers = []
    for orientation, count in counts.items():
        normal = np.cross(orientation[:3], orientation[3:])
        headers += [
            synthetic(
                number,
                ImageOrientationPatient=list(orientation),
                ImagePositionPatient=(normal * step * number).tolist(),
                SliceThickness=thickness,
                **(MR | values),
            )
            for number in range(count)
        ]
    return headers


def three(count: int, step: float, thickness: float, **values):
    return planes({tuple(o): count for o in (AXIAL, CORONAL, SAGITTAL)}, step, thickness, **values)


@pytest.mark.parametrize(
    "name",
    [
        "localizer", "Localizer_3Plane", "LOCALISER", "t2_localizer2", "lokalisation", "AAHead_Scout",
        "AAHead_Scout_MPR_sag", "AAScout",
        "Topogram 0.6", "TOPOGRAMM", "Surview", "SCOUT-AP", "Dual_Scano", "Scanogram", "Smart Prep Series", "SmartPrep",
        "Übersicht", "Uebersicht_Kopf", "UEBERSICHTEN", "Repérage", "reperage_3_plans", "Localisateur", "Mode radio",
        "Localizador", "Localizzatore", "localizzatori_bh", "Overzichtsscan", "Lokalisatie", "Översikt", "paikannuskuva",
        "Локализатор", "топограмма", "位置決め", "頭部位置決め画像", "スカウト", "ローカライザー", "定位像", "로컬라이저",
    ],
)  # fmt: skip
def test_names_of_localizers(name):
    headers = stack(40, SeriesDescription=name, **MR)
    assert len(find_localizers(headers)) == 40


@pytest.mark.parametrize(
    "name", [
        "loc", "LOC_3PL", "3-plane", "3plane", "3pl T2*", "3 Plane FGRE", "tri-plane", "triplane_haste", "plan",
        "Survey_BFFE", "pilot", "Localização",
    ]
)  # fmt: skip
def test_weak_names_need_a_geometry_that_agrees(name):
    assert len(find_localizers(three(9, 14, 8, SeriesDescription=name))) == 27
    assert len(find_localizers(stack(5, SeriesDescription=name, **MR))) == 5
    assert not find_localizers(stack(40, SeriesDescription=name, SliceThickness=2, **MR))


@pytest.mark.parametrize(
    "name",
    [
        "RT planning CT", "skeletal survey", "Local excision follow-up", "ax T2 plan", "discover", "relocated",
        "Explant", "block 3", "prescoutless",
    ],
)  # fmt: skip
def test_other_names_are_no_localizers(name):
    assert not find_localizers(stack(60, SeriesDescription=name, SliceThickness=2))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["scout", "Localizer", "位置決め", "topogram"]),
    st.sampled_from("_-. /0"),
    st.text("abc", max_size=5),
)
def test_a_name_is_found_between_other_words(word, mark, around):
    name = f"{around}{mark}{word}{mark}{around}"
    assert find_localizers(stack(30, SeriesDescription=name, **MR))


def test_the_name_is_that_of_the_protocol_where_the_series_has_none():
    assert find_localizers(stack(30, ProtocolName="scout", **MR))
    assert not find_localizers(stack(30, SeriesDescription="t1", ProtocolName="scout and t1", **MR))


def test_a_scout_is_known_by_its_scan_options():
    assert find_localizers(stack(3, ScanOptions="SCOUT MODE"))


@pytest.mark.parametrize(
    ("headers", "is_localizer"),
    [
        (three(5, 8, 8), True),
        (three(15, 10, 8), True),
        (three(20, 4, 4), False),
        (three(40, 20, 8), False),
        (planes({tuple(AXIAL): 7, tuple(SAGITTAL): 7}, 20, 8), True),
        (planes({tuple(AXIAL): 12, tuple(SAGITTAL): 12}, 4, 4), False),
        (planes({tuple(AXIAL): 1, tuple(SAGITTAL): 1}, 4, 8), False),
        (planes({tuple(AXIAL): 3, tuple(SAGITTAL): 3}, 20, None), True),
        (three(1, 8, None), True),
        (three(1, 8, 8, ImageType=["DERIVED", "PRIMARY", "OTHER"]), False),
        (planes({tuple(AXIAL): 5}, 20, 5), False),
    ],
)
def test_few_slices_in_several_planes_are_a_localizer(headers, is_localizer):
    assert bool(find_localizers(headers)) is is_localizer


def test_radial_slabs_and_blocks_of_a_spine_are_no_localizers():
    angles = np.radians(np.arange(0, 180, 15))
    radial = {(np.cos(a), np.sin(a), 0.0, 0.0, 0.0, -1.0): 1 for a in angles}
    assert not find_localizers(planes(radial, 10, 40))
    discs = {(1.0, 0.0, 0.0, 0.0, np.cos(a), np.sin(a)): 4 for a in np.radians([-20, -5, 10, 25])}
    assert not find_localizers(planes(discs, 4, 4))


def test_a_cine_in_several_planes_is_no_localizer():
    headers = [h for phase in range(20) for h in three(1, 8, 8, TriggerTime=phase * 40)]
    assert not find_localizers(headers)


def test_projections_before_an_axial_stack_are_left_out_alone():
    headers = stack(20) + [synthetic(90, ImageOrientationPatient=o) for o in (CORONAL, SAGITTAL)]
    plan = plan_of(headers)
    assert len(plan.frames) == 20
    assert {(item.reason, item.detail) for item in plan.all_left_out} == {
        (Reason.LOCALIZER, "a single coronal CT image"),
        (Reason.LOCALIZER, "a single sagittal CT image"),
    }


def test_a_rule_keeps_localizers():
    rules = rules_from({"render": [{"preset": "x"}], "keep": ["localizer"]})
    headers = stack(3, SeriesDescription="scout", **MR)
    assert reasons_of(headers) == {"1.3": "localizer"}
    assert reasons_of(headers, rules) == {"1.3": "used"}
