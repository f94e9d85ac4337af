"""Which stacks of a series are used: diffusion, echoes, phases, components of the complex image, and what is told of it."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_pipeline.domain import Reason
from dicom_pipeline.errors import RuleError
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.geometry import first_frame
from dicom_pipeline.planning.recognition.contrasts import b_value, component, is_trace
from dicom_pipeline.planning.stack_choice import MAX_B_CLASSES, MAX_PHASES, b_value_classes
from tests.planning.made import only_series, plan_of, reasons_of, synthetic

MR = {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}


def stacks(*contrasts: dict, count: int = 4):
    """One stack for each contrast, in one series; instance numbers go on."""
    return [
        synthetic(number, InstanceNumber=turn * 100 + number, **(MR | values))
        for turn, values in enumerate(contrasts)
        for number in range(count)
    ]


def used(headers, keyword, rules=None):
    """How many used frames have each value of an attribute."""
    values = {header.sop_instance_uid: header.text(keyword) for header in headers}
    return Counter(values[frame.key.sop_instance_uid] for frame in plan_of(headers, rules).frames)


def dwi(b, direction=None, **values):
    more = {"DiffusionGradientOrientation": direction} if direction else {}
    return {"DiffusionBValue": float(b), **more, **values}


def test_each_b_value_is_kept_once_and_told():
    directions = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    headers = stacks(dwi(0), *(dwi(b, d) for b in (500, 1000) for d in directions))
    assert used(headers, "DiffusionBValue") == {"0.0": 4, "500.0": 4, "1000.0": 4}
    series = only_series(headers)
    assert series.choice_note == "diffusion: b 0, b 500, b 1000 of 7 stacks"
    assert Counter((i.reason, i.detail) for i in series.excluded) == {
        (Reason.STACK_NOT_CHOSEN, f"b {b}: another stack of this b-value is used"): 8 for b in (500, 1000)
    }


def test_the_trace_goes_before_single_directions():
    trace = {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND"], "SeriesDescription": "trace"}
    headers = stacks(dwi(0), dwi(1000, [1.0, 0, 0]), dwi(1000, [0, 1.0, 0]), dwi(1000, **trace))
    assert used(headers, "SeriesDescription") == {"": 4, "trace": 4}
    assert "b 1000 (trace)" in only_series(headers).choice_note


def test_of_many_b_values_the_lowest_and_the_highest_are_used():
    headers = stacks(*(dwi(b) for b in (0, 50, 100, 200, 400, 800)))
    assert used(headers, "DiffusionBValue") == {"0.0": 4, "800.0": 4}


def test_a_few_slices_of_two_b_values_are_distinct_names():
    assert used(stacks(dwi(0), dwi(1000), count=1), "DiffusionBValue") == {"0.0": 1, "1000.0": 1}


def test_stacks_of_several_contrasts_have_reference_frames_each():
    series = only_series(stacks(dwi(0), dwi(1000), count=30))
    assert Counter(frame.stack for frame in series.reference_frames) == {0: 16, 1: 16}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 5000), min_size=1, max_size=30))
def test_b_value_classes_hold_every_value_once_and_do_not_overlap(values):
    classes = b_value_classes(values)
    assert set().union(*classes) == set(values)
    assert sum(len(one) for one in classes) == len(set(values))
    for before, after in pairwise(classes):
        assert max(before) < min(after)
        assert min(after) - min(before) > 25


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0, 50, 400, 800, 1000, 2000]), min_size=2, max_size=8))
def test_the_lowest_and_the_highest_b_value_are_always_used(values):
    headers = stacks(*(dwi(b, [float(turn), 1.0, 0.0]) for turn, b in enumerate(values)), count=3)
    found = {float(value) for value in used(headers, "DiffusionBValue")}
    if len(set(values)) > 1:
        assert {min(values), max(values)} <= found
    assert len(found) <= MAX_B_CLASSES
    plan = plan_of(headers)
    assert len(plan.frames) + len(plan.all_excluded) == len(headers)


PRIVATE = [
    (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 800, 800.0),
    (0x2001, "Philips Imaging DD 001", 0x03, "FL", 800.0, 800.0),
    (0x0043, "GEMS_PARM_01", 0x39, "IS", [1000000800, 8, 0, 0], 800.0),
    (0x0043, "GEMS_PARM_01", 0x39, "UN", b"800\\8\\0\\0 ", 800.0),
    (0x0065, "Image Private Header", 0x09, "FD", 800.0, 800.0),
    (0x0065, "Image Private Header", 0x09, "UN", b"\0\0\0\0\0\0\x89@", 800.0),
    (0x0019, "SIEMENS MR HEADER", 0x0C, "UN", b"\1\2\3", None),
]


@pytest.mark.parametrize(("group", "creator", "offset", "vr", "value", "expected"), PRIVATE)
def test_b_values_of_vendors(group, creator, offset, vr, value, expected):
    header = synthetic(1, **MR)
    header.dataset.private_block(group, creator, create=True).add_new(offset, vr, value)
    assert b_value(first_frame(header)) == expected


def test_the_trace_of_philips_has_the_direction_i():
    header = synthetic(1, **MR)
    header.dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x04, "CS", "I")
    assert is_trace(first_frame(header))
    assert not is_trace(first_frame(synthetic(1, **MR)))


@pytest.mark.parametrize(
    ("name", "expected"), [("*ep_b1000t", 1000.0), ("ep_b0", 0.0), ("*ep_b50#3", 50.0), ("*tse2d1_9", None), ("", None)]
)
def test_b_values_of_sequence_names(name, expected):
    frame = first_frame(synthetic(1, SequenceName=name, **MR))
    assert b_value(frame) == expected
    assert is_trace(frame) is name.endswith("t")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}, "magnitude"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}, "real"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"]}, ""),
        ({"ComplexImageComponent": "IMAGINARY"}, "imaginary"),
        ({"ComplexImageComponent": "MIXED", "ImageType": ["ORIGINAL", "PRIMARY", "M"]}, "magnitude"),
    ],
)
def test_components_of_the_complex_image(values, expected):
    assert component(first_frame(synthetic(1, **(MR | values)))) == expected


def test_magnitude_goes_before_phase():
    phase = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}
    headers = stacks(phase, {})
    assert used(headers, "ImageType") == {"ORIGINAL\\PRIMARY\\M\\ND": 4}
    series = only_series(headers)
    assert series.choice_note == "magnitude images only: 1 of 2 stacks"
    assert {item.detail for item in series.excluded} == {"phase image: the magnitude image is used"}
    assert len(only_series(stacks(phase)).frames) == 4


def test_a_series_of_phase_images_gives_way_to_its_magnitude_series():
    phase = {**MR, "ImageType": ["ORIGINAL", "PRIMARY", "P", "SWI"], "FrameOfReferenceUID": "1.9", "EchoTime": 20}
    magnitude = phase | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI"]}
    headers = [synthetic(n, "1.4", **phase) for n in range(4)]
    assert reasons_of(headers + [synthetic(n, "1.3", **magnitude) for n in range(4)]) == {
        "1.3": "used",
        "1.4": "series-not-chosen",
    }
    other = magnitude | {"EchoTime": 80}
    assert reasons_of(headers + [synthetic(n, "1.3", **other) for n in range(4)]) == {"1.3": "used", "1.4": "used"}


def test_each_echo_is_used_and_of_many_the_first_and_the_last():
    assert used(stacks({"EchoTime": 80}, {"EchoTime": 10}), "EchoTime") == {"10.0": 4, "80.0": 4}
    many = stacks(*({"EchoTime": 10 * n} for n in range(1, 9)))
    assert used(many, "EchoTime") == {"10.0": 4, "80.0": 4}
    assert "of 8 echoes the first and the last are used" in only_series(many).choice_note


def test_each_phase_of_a_few_is_used_and_one_of_many():
    few = stacks(*({"TemporalPositionIdentifier": n} for n in range(5)))
    assert len(only_series(few).frames) == 20
    assert only_series(few).choice_note == "5 phases are used"
    many = stacks(*({"TemporalPositionIdentifier": n} for n in range(MAX_PHASES + 1)))
    assert used(many, "TemporalPositionIdentifier") == {"0": 4}
    assert "of 7 phases one is used" in only_series(many).choice_note


def test_a_broken_off_phase_and_plain_repeats_are_not_used():
    broken = stacks({"AcquisitionNumber": 1}, count=10) + stacks({"AcquisitionNumber": 2}, count=3)
    assert used(broken, "AcquisitionNumber") == {"1": 10}
    assert len(only_series(stacks({}, {}, {})).frames) == 4


def test_the_rules_first_and_all():
    headers = stacks(dwi(0), dwi(1000), dwi(1000, [1.0, 0, 0]))
    for stacks_rule, expected in (("first", 4), ("all", 12), ("each-contrast", 8)):
        rules = rules_from({"render": [{"preset": "x", "stacks": stacks_rule}]})
        assert len(plan_of(headers, rules).frames) == expected
    assert rules_from({"render": [{"preset": "x"}]}).render[0].stacks == "each-contrast"
    with pytest.raises(RuleError, match="each-contrast"):
        rules_from({"render": [{"preset": "x", "stacks": "best"}]})


def enhanced(frame_types):
    """An enhanced MR with one frame at one place for each Frame Type."""
    items = []
    for turn, frame_type in enumerate(frame_types):
        item, kind, content = Dataset(), Dataset(), Dataset()
        kind.FrameType = frame_type
        content.TemporalPositionIndex = turn + 1
        item.MRImageFrameTypeSequence = Sequence([kind])
        item.FrameContentSequence = Sequence([content])
        items.append(item)
    mixed = ["ORIGINAL", "PRIMARY", "DIFFUSION", "MIXED"]
    return [
        synthetic(
            1, frames=len(items), Modality="MR", ImageType=mixed, PerFrameFunctionalGroupsSequence=Sequence(items)
        )
    ]


def test_a_map_among_the_frames_of_an_enhanced_object_is_left_out_by_its_frame_type():
    headers = enhanced([["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]])
    series = only_series(headers)
    assert [frame.key.frame for frame in series.frames] == [1]
    assert [(item.frame, item.reason) for item in series.excluded] == [(2, Reason.ADC_MAP)]
    rules = rules_from({"render": [{"preset": "x"}], "keep": ["adc-map"]})
    kept = only_series(headers, rules)
    assert [frame.key.frame for frame in kept.frames] == [1, 2]
    assert "a map by rule (Image Type ADC)" in kept.choice_note
    plan = plan_of(enhanced([["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]]))
    assert (plan.series, [item.reason for item in plan.excluded]) == ((), [Reason.ADC_MAP])


def test_the_order_of_the_files_does_not_matter():
    headers = stacks(dwi(0), dwi(1000), dwi(1000, [1.0, 0, 0]), dwi(500))
    assert plan_of(headers) == plan_of(headers[::-1])
