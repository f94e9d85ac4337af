"""The selection SPEC and its strategies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.domain import Frame, FrameKey, Reason
from dicom_pipeline.errors import SelectionError
from dicom_pipeline.planning.selection import Measures, choose, k_centre, parse_selection, uniform_indices


def stack(count: int, step: float = 1.0) -> list[Frame]:
    return [Frame(FrameKey(str(i)), Path("x"), "s", i * step) for i in range(count)]


def chosen(count: int, spec: str, measures: Measures | None = None, step: float = 1.0) -> list[int]:
    frames, _ = choose(stack(count, step), parse_selection(spec), measures or Measures())
    return [int(frame.key.sop_instance_uid) for frame in frames]


@given(st.integers(1, 3000), st.integers(1, 200))
def test_uniform_gives_distinct_ascending_indices_and_ends_at_the_last(total, count):
    indices = uniform_indices(total, count)
    assert indices == sorted(set(indices))
    assert len(indices) == min(total, count)
    assert indices[-1] == total - 1


def test_uniform_is_the_rule_of_the_reference_notebook():
    expected = [int(round(i / 85 * (300 - 1))) for i in range(1, 86)]  # noqa: RUF046 - written as the notebook has it
    assert uniform_indices(300, 85) == expected


@given(
    st.integers(1, 60),
    st.sampled_from(["all", "uniform:5", "middle", "middle:4", "every-mm:2.5", "body:3", "body", "key-objects"]),
)
def test_every_frame_is_chosen_or_has_a_reason(count, spec):
    measures = Measures(content=lambda frame: 0.5 if 3 < int(frame.key.sop_instance_uid) < 40 else 0.0)
    frames, reasons = choose(stack(count), parse_selection(spec), measures)
    keys = [frame.key for frame in frames]
    assert set(keys) | set(reasons) == {frame.key for frame in stack(count)}
    assert not set(keys) & set(reasons)
    assert [frame for frame in stack(count) if frame.key in set(keys)] == frames


def test_middle_body_and_every_mm():
    assert chosen(9, "middle") == [4]
    assert chosen(10, "middle:4") == [3, 4, 5, 6]
    assert chosen(10, "every-mm:3") == [0, 3, 6, 9]
    body = Measures(content=lambda frame: 0.3 if frame.key.sop_instance_uid in "4567" else 0.001)
    assert chosen(10, "body", body) == [4, 5, 6, 7]
    _, reasons = choose(stack(10), parse_selection("body"), body)
    assert set(reasons.values()) == {Reason.AIR_ONLY}


def test_key_objects_take_what_is_named_or_all():
    assert chosen(5, "key-objects", Measures(key_frames=frozenset({FrameKey("2")}))) == [2]
    assert chosen(5, "key-objects") == [0, 1, 2, 3, 4]


def test_k_centre_covers_three_clusters_with_three_points():
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:3]
    vectors = np.concatenate([c + rng.normal(0, 0.02, (10, 8)).astype(np.float32) for c in centres])
    assert {index // 10 for index in k_centre(vectors, 3)} == {0, 1, 2}
    frames, _ = choose(stack(30), parse_selection("diverse:3"), Measures(vectors=lambda f, _: vectors[: len(f)]))
    assert len(frames) == 3


@pytest.mark.parametrize(
    "spec", ["", "uniform", "uniform:0", "uniform:x", "all:3", "best:3", "every-mm:-1", "every-mm:nan"]
)
def test_a_wrong_spec_is_refused_with_the_forms(spec):
    with pytest.raises(SelectionError, match="uniform:N"):
        parse_selection(spec)


def test_diverse_without_a_model_says_so():
    with pytest.raises(SelectionError, match="model"):
        chosen(9, "diverse:3")
