"""Warnings stay silent while anyone wants them so, and come back after; from any thread."""

import threading
import warnings

import pytest

from dicom_pipeline.dicom.warnings import suppress_warnings


def test_a_warning_is_neither_shown_nor_raised():
    with suppress_warnings():
        warnings.warn("raised in the tests, where warnings are errors", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning):
        warnings.warn("heard again", UserWarning, stacklevel=1)


def test_who_leaves_first_does_not_end_the_silence_of_another():
    """catch_warnings alone would: it puts back the filters of the first, while the second still reads."""
    before = list(warnings.filters)
    entered, left = threading.Event(), threading.Event()

    def first():
        with suppress_warnings():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with suppress_warnings():
        left.set()
        thread.join()
        warnings.warn("still silent", UserWarning, stacklevel=1)
    assert warnings.filters == before


def test_many_threads_leave_the_filters_as_they_were():
    before, failures = list(warnings.filters), []

    def work():
        for _ in range(300):
            try:
                with suppress_warnings():
                    warnings.warn("odd", UserWarning, stacklevel=1)
            except UserWarning as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warnings.filters == before


def test_an_exception_ends_the_silence():
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="on its way"), suppress_warnings():
        raise ValueError("on its way")
    assert warnings.filters == before
