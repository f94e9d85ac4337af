"""Windows made of a stack's own values: percentiles, what takes their place where they show nothing, lowest to highest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.imaging.windows import Levels, Span, full_span
from tests.imaging.made import frame, instance, write

MR = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}


def real_valued(shift=0):
    """A real-valued inversion recovery: air at 0 over most of the image, tissue below it, a little above."""
    values = np.zeros((448, 448), np.int16)
    values[150:298, 150:298] = -800
    values[150:160, 150:298] = 60
    return values + np.int16(shift)


def render(values, tmp_path, preset="mr-percentile", **attributes):
    path = write(instance(values, **(MR | attributes)), tmp_path)
    return SeriesRenderer(load_preset(preset), [frame(path)]).render(frame(path)).pixels[..., 0]


def test_real_valued_inversion_recovery_is_not_white(tmp_path):
    own = render(real_valued(), tmp_path, WindowCenter="0", WindowWidth="2000")
    assert (own[10, 10], own[200, 200]) == (128, 26)
    rejected = render(real_valued(), tmp_path, WindowCenter="-500", WindowWidth="600")
    full = render(real_valued(), tmp_path)
    assert (full == rejected).all()
    assert full[200, 200] == 0
    assert full[155, 200] == 255


def test_real_valued_images_with_an_offset_are_no_other(tmp_path):
    plain = render(real_valued(), tmp_path, WindowCenter="0", WindowWidth="2000")
    rescaled = render(
        real_valued(2048), tmp_path, WindowCenter="0", WindowWidth="2000", RescaleIntercept="-2048", RescaleSlope="1"
    )
    assert (plain == rescaled).all()


def test_an_image_of_little_but_background_is_shown_to_its_highest_value(tmp_path):
    values = np.zeros((448, 448), np.uint16)
    values[200:204, 200:204] = [[500, 500, 1000, 1000]] * 4
    pixels = render(values, tmp_path)
    assert (pixels[10, 10], pixels[201, 200], pixels[201, 203]) == (0, 128, 255)


def test_a_plain_image_keeps_its_percentiles_whatever_its_window(tmp_path):
    values = np.tile(np.arange(448, dtype=np.uint16), (448, 1)) * 4
    assert (render(values, tmp_path) == render(values, tmp_path, WindowCenter="5", WindowWidth="3")).all()


def test_minmax_reaches_the_single_lowest_and_highest_value(tmp_path):
    values = np.full((448, 448), 100, np.uint16)
    values[1, 1], values[2, 2] = 50, 300
    pixels = render(values, tmp_path, "mr-minmax")
    assert (pixels[1, 1], pixels[2, 2], pixels[0, 0]) == (0, 255, 51)


def test_minmax_leaves_padding_out(tmp_path):
    values = np.full((448, 448), 100, np.uint16)
    values[1, 1], values[2, 2], values[3, 3] = 50, 300, 9999
    assert render(values, tmp_path, "mr-minmax", PixelPaddingValue=9999)[2, 2] == 255


@pytest.mark.parametrize("preset", ["mr-percentile", "mr-minmax"])
def test_each_stack_has_levels_of_its_own(tmp_path, preset):
    """b 0 is many times as bright as b 1000: between the values of both, b 1000 would be black."""
    frames = []
    for stack, top in enumerate((4000, 100)):
        values = np.linspace(0, top, 448 * 448).astype(np.uint16).reshape(448, 448)
        folder = tmp_path / str(stack)
        folder.mkdir()
        frames.append(replace(frame(write(instance(values, **MR), folder)), stack=stack))
    renderer = SeriesRenderer(load_preset(preset), frames)
    assert [int(renderer.render(f).pixels.max()) for f in frames] == [255, 255]


VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_the_window_lies_within_the_full_span(values):
    array = np.array(values, np.float32)
    levels, full = Levels.of([array], (0.5, 99.5)), full_span([array])
    assert full == Span(min(values), max(values))
    assert full.low <= levels.window.low <= levels.median <= levels.window.high <= full.high
    assert not levels.suits(Span(full.low, full.low))
    assert not levels.suits(Span(full.high + 1, full.high + 2))


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES)
def test_the_full_span_of_several_frames_holds_each(one, other):
    arrays = [np.array(values, np.float32) for values in (one, other)]
    both = full_span(arrays)
    assert all(both.low <= full_span([a]).low and full_span([a]).high <= both.high for a in arrays)
