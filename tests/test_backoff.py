"""How long to wait before the next attempt."""

from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.backoff import backoff_seconds


def test_the_wait_doubles_up_to_the_maximum():
    assert [backoff_seconds(failures, 0.5, 3.0) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_ten_years_of_failures_overflow_nothing():
    assert backoff_seconds(10**9, 0.5, 60.0) == 60.0


@given(st.integers(0, 100), st.floats(0.01, 100), st.floats(0.01, 1e5), st.text(max_size=10))
def test_jitter_takes_at_most_half_and_is_the_same_each_time(failures, first, maximum, seed):
    whole = backoff_seconds(failures, first, maximum)
    wait = backoff_seconds(failures, first, maximum, seed)
    assert whole / 2 <= wait <= whole <= maximum
    assert wait == backoff_seconds(failures, first, maximum, seed)


def test_those_that_failed_together_return_apart():
    assert len({backoff_seconds(3, 2.0, 3600.0, f"report {number}") for number in range(100)}) > 90
