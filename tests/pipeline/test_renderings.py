"""Renderings are made ahead, bounded, and given out in order with the failures among them."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason, Rendering
from dicom_pipeline.pipeline.renderings import render_ahead

PIXELS = np.zeros((448, 448, 3), np.uint8)


def frame(number):
    return Frame(FrameKey("1.2", number), Path("x"), "1")


class Renderer:
    """Renders by making nothing, in threads; remembers what was asked of it. Frame 3 fails."""

    def __init__(self, threads=1):
        self.asked = []
        self.threads = ThreadPoolExecutor(threads)

    def submit(self, wanted):
        return self.threads.submit(self.render, wanted)

    def render(self, wanted):
        self.asked.append(wanted.key.frame)
        if wanted.key.frame == 3:
            raise InstanceError(Reason.TRUNCATED, "cut")
        return Rendering(wanted, PIXELS)


def said(item):
    if item is None:
        return None
    token, made_of, made = item
    return token, made_of.key.frame, made.reason if isinstance(made, InstanceError) else made.frame.key.frame


@pytest.mark.parametrize("threads", [1, 4])
def test_the_order_is_the_tasks_own_and_a_failure_is_an_item(threads):
    renderer = Renderer(threads)
    tasks = [("a", renderer, frame(n)) for n in (1, 2, 3)] + [None] + [("b", renderer, frame(4))]
    made = [said(item) for item in render_ahead(tasks, depth=2)]
    assert made == [("a", 1, 1), ("a", 2, 2), ("a", 3, Reason.TRUNCATED), None, ("b", 4, 4)]


def test_no_more_than_the_depth_is_asked_for_before_something_is_taken():
    renderer, drawn = Renderer(), []

    def tasks():
        for number in (1, 2, 4, 5, 6, 7):
            drawn.append(number)
            yield "a", renderer, frame(number)

    made = render_ahead(tasks(), depth=3)
    assert next(made)[1].key.frame == 1
    assert drawn == [1, 2, 4, 5]
    made.close()


def test_a_none_gives_out_what_is_under_way_before_more_is_asked_for():
    renderer, drawn = Renderer(), []

    def tasks():
        yield "a", renderer, frame(1)
        yield None
        drawn.append("more")
        yield "b", renderer, frame(2)

    made = render_ahead(tasks(), depth=8)
    assert (said(next(made)), said(next(made))) == (("a", 1, 1), None)
    assert drawn == []
    assert said(next(made)) == ("b", 2, 2)


def test_progress_is_told_with_each_rendering_that_is_taken():
    renderer, told = Renderer(), []
    made = render_ahead([("a", renderer, frame(n)) for n in (1, 2)], depth=1, progress=lambda: told.append(1))
    next(made)
    assert len(told) == 1
    list(made)
    assert len(told) == 2


def test_what_is_not_taken_any_more_is_cancelled():
    unmade = [Future() for _ in range(3)]
    made = Future()
    made.set_result(Rendering(frame(1), PIXELS))
    futures = iter([made, *unmade])

    class Slow:
        def submit(self, _):
            return next(futures)

    renderings = render_ahead((("a", Slow(), frame(n)) for n in (1, 2, 4, 5)), depth=3)
    next(renderings)
    renderings.close()
    assert all(future.cancelled() for future in unmade)


def test_what_nobody_foresaw_ends_the_stream():
    renderer = Renderer()

    def broken(wanted):
        raise RuntimeError("not an InstanceError")

    renderer.render = broken
    with pytest.raises(RuntimeError):
        list(render_ahead([("a", renderer, frame(1))], depth=1))
