"""CT: axial stacks before others, and a note where there is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.domain import Reason
from dicom_pipeline.errors import RuleError
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.geometry import first_frame
from tests.planning.made import AXIAL, CORONAL, SAGITTAL, only_series, plan_of, reasons_of, stack, synthetic

CT_RULE = {"Modality": ["CT"], "preset": "ct-single"}
NO_AXIAL = "the study has no axial stack of this volume"


def test_coronal_and_sagittal_series_give_way_to_an_axial_one():
    headers = stack(20, "1.3", FrameOfReferenceUID="1.9")
    headers += stack(20, "1.4", FrameOfReferenceUID="1.9", ImageOrientationPatient=CORONAL)
    headers += stack(20, "1.5", FrameOfReferenceUID="1.9", ImageOrientationPatient=SAGITTAL)
    plan = plan_of(headers)
    assert [(s.series_instance_uid, s.choice_note) for s in plan.series] == [("1.3", "")]
    assert {(i.reason, i.detail.split(":")[0]) for i in plan.left_out} == {
        (Reason.SERIES_NOT_CHOSEN, "coronal"),
        (Reason.SERIES_NOT_CHOSEN, "sagittal"),
    }


def test_a_study_without_an_axial_stack_says_so():
    series = only_series(stack(20, ImageOrientationPatient=CORONAL))
    assert len(series.frames) == 20
    assert series.choice_note.startswith(f"coronal: {NO_AXIAL}")
    assert "MedSigLIP" in series.choice_note
    unknown = only_series(stack(20, ImageOrientationPatient=None))
    assert "plane not known" in unknown.choice_note


@pytest.mark.parametrize(
    "axial",
    [
        {"count": 20, "FrameOfReferenceUID": "1.8"},
        {"count": 1, "FrameOfReferenceUID": "1.9"},
        {"count": 20, "FrameOfReferenceUID": "1.9", "Modality": "PT"},
    ],
)
def test_an_axial_series_of_another_volume_or_of_one_slice_stands_for_none(axial):
    headers = stack(axial.pop("count"), "1.3", **axial)
    headers += stack(20, "1.4", FrameOfReferenceUID="1.9", ImageOrientationPatient=CORONAL)
    assert set(reasons_of(headers).values()) == {"used"}
    assert NO_AXIAL in plan_of(headers).series[1].choice_note


def test_within_a_series_the_axial_stack_is_used():
    headers = stack(10) + [synthetic(90 + n, ImageOrientationPatient=CORONAL) for n in range(10)]
    series = only_series(headers)
    assert len(series.frames) == 10
    assert {item.detail for item in series.left_out} == {"coronal: an axial stack of the series is preferred"}


def test_other_modalities_and_rules_keep_every_plane():
    coronal = {"FrameOfReferenceUID": "1.9", "ImageOrientationPatient": CORONAL}
    mr = stack(20, "1.3", FrameOfReferenceUID="1.9", Modality="MR") + stack(20, "1.4", Modality="MR", **coronal)
    assert set(reasons_of(mr).values()) == {"used"}
    ct = stack(20, "1.3", FrameOfReferenceUID="1.9") + stack(20, "1.4", **coronal)
    rules = rules_from({"render": [CT_RULE], "series": {"prefer_axial": []}})
    assert set(reasons_of(ct, rules).values()) == {"used"}
    with pytest.raises(RuleError, match="prefer_axial"):
        rules_from({"series": {"prefer_axial": "CT"}})


@settings(deadline=None, max_examples=60)
@given(st.floats(-30, 30), st.sampled_from([(AXIAL, "axial"), (CORONAL, "coronal"), (SAGITTAL, "sagittal")]))
def test_a_tilt_changes_no_plane(degrees, plane):
    import numpy as np

    (orientation, name), angle = plane, np.radians(degrees)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    tilted = column * np.cos(angle) + np.cross(row, column) * np.sin(angle)
    assert first_frame(synthetic(1, ImageOrientationPatient=[*row.tolist(), *tilted.tolist()])).plane == name
