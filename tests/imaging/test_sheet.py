"""The contact sheet: texts are wrapped and never cut, warnings stand out, every picture is on it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.imaging import contact_sheet, stack_sheets
from dicom_pipeline.imaging.sheet import FONT, MARK, THUMBNAIL, SheetGroup, SheetPicture, wrapped


def picture(grey, name="image 1", **texts):
    return SheetPicture(np.full((448, 448, 3), grey, np.uint8), name, **texts)


def has(sheet, colour):
    return bool((np.asarray(sheet) == colour).all(axis=-1).any())


@given(st.text(st.characters(categories=["L", "N", "P", "Z"]), max_size=120))
def test_wrapping_loses_no_letter_and_keeps_to_the_width(text):
    lines = wrapped(text, FONT, THUMBNAIL)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(FONT.getlength(line) <= THUMBNAIL for line in lines)


def test_words_are_broken_only_where_one_is_wider_than_a_line():
    assert wrapped("CT Chest axial with contrast, reconstructed", FONT, THUMBNAIL) == [
        "CT Chest axial with contrast,",
        "reconstructed",
    ]
    assert len(wrapped("W" * 60, FONT, THUMBNAIL)) > 1


def test_a_warning_is_drawn_in_its_own_colour_alone():
    plain = contact_sheet([SheetGroup("CT", [picture(90, note="Nodule 0.24")])])
    marked = contact_sheet([SheetGroup("CT", [picture(90, note="Nodule 0.24", warning="OUT OF DOMAIN")])])
    assert has(marked, MARK)
    assert not has(plain, MARK)
    assert marked.height > plain.height


def test_every_picture_of_every_group_is_on_the_page():
    groups = [
        SheetGroup("one", [picture(n) for n in range(100, 108)]),
        SheetGroup("two", [picture(n) for n in (120, 121)]),
    ]
    page = np.asarray(stack_sheets([contact_sheet(groups, title="study"), contact_sheet([])]))
    for grey in (*range(100, 108), 120, 121):
        assert (page == grey).all(axis=-1).sum() >= THUMBNAIL**2, grey
