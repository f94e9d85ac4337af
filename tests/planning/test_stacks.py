"""Stack IDs and passes of one series: separated, or one stack with a note."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_pipeline.planning.geometry import locate_frames
from dicom_pipeline.planning.stacks import stacks_of
from tests.planning.made import AXIAL, plan_of, synthetic


def passes(*positions_of):
    """One series with a pass for each list of positions along the patient's axis."""
    return [
        synthetic(turn * 100 + n, AcquisitionNumber=turn + 1, ImagePositionPatient=[0, 0, position])
        for turn, positions in enumerate(positions_of)
        for n, position in enumerate(positions)
    ]


def stacks(headers):
    found, note = stacks_of([item for header in headers for item in locate_frames(header)])
    return Counter(len(stack.located) for stack in found), note


def test_passes_that_lie_unevenly_between_one_another_are_separated():
    counts, note = stacks(passes([0, 5, 10, 15], [13, 18, 23, 28]))
    assert counts == {4: 2}
    assert note == "passes told apart by AcquisitionNumber"
    counts, note = stacks(passes([0, 5, 10, 15], [0.1, 5.1, 10.1, 15.1]))
    assert counts == {4: 2}


def test_passes_that_interleave_evenly_are_one_stack_with_a_note():
    counts, note = stacks(passes([0, 4, 8, 12], [2, 6, 10, 14]))
    assert (counts, note) == ({8: 1}, "2 passes (AcquisitionNumber) interleave in one stack")


def test_passes_that_follow_one_another_are_one_stack_with_a_note():
    counts, note = stacks(passes([0, 5, 10], [20, 22, 24]))
    assert (counts, note) == ({6: 1}, "2 passes (AcquisitionNumber) follow one another in one stack")


def test_an_acquisition_number_of_each_slice_tells_nothing():
    assert stacks(passes(*([float(n)] for n in range(9)))) == ({9: 1}, "")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True), min_size=1, max_size=4))
def test_no_frame_is_lost_and_no_stack_has_two_at_one_place(positions_of):
    headers = passes(*positions_of)
    found, _ = stacks_of([item for header in headers for item in locate_frames(header)])
    keys = [frame.key for stack in found for frame in stack.frames]
    assert sorted(keys) == sorted(item.frame.key for header in headers for item in locate_frames(header))
    for stack in found:
        places = [frame.position_mm for frame in stack.frames]
        assert places == sorted(set(places))
    plan = plan_of(headers)
    assert len(plan.frames) + len(plan.all_left_out) == len(headers)


@pytest.mark.parametrize("ids", [["1", "1", "2", "2"], ["1", "2", "1", "2"]])
def test_stack_ids_are_separated(ids):
    items = []
    for number, stack_id in enumerate(ids):
        item, content, orientation, position = Dataset(), Dataset(), Dataset(), Dataset()
        content.StackID = stack_id
        orientation.ImageOrientationPatient = AXIAL
        position.ImagePositionPatient = [0, 0, number * 2.0]
        item.FrameContentSequence = Sequence([content])
        item.PlaneOrientationSequence = Sequence([orientation])
        item.PlanePositionSequence = Sequence([position])
        items.append(item)
    header = synthetic(1, frames=4, PerFrameFunctionalGroupsSequence=Sequence(items))
    assert stacks([header]) == ({2: 2}, "stacks told apart by StackID")
