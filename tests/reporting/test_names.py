"""Series and images are called what a workstation shows of them, in the report and in all that is made of it."""

import re
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline.domain import distinct_names, image_name, series_name
from dicom_pipeline.reporting import read_report, report_html, report_text
from tests.reporting.made import PROVENANCE, SERIES, SMALL, report

UID_TAIL = re.compile(r"…[0-9.]{4,}")
FIRST_FORM = Path(__file__).parent / "first_form.dcm"


def library_groups(made):
    (library,) = (i for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "111028")
    return library.ContentSequence


def texts_of(items, code):
    return [i.TextValue for i in items if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeValue == code]


def test_names_leave_out_what_is_missing_and_are_distinct_names():
    assert series_name("MR", "FLAIR", 301) == "MR FLAIR (series 301)"
    assert series_name("", " ", None) == "series without a description"
    assert (image_name(12, 1, 1), image_name(1, 3, 9), image_name(None, 1, 1)) == (
        "image 12",
        "image 1, frame 3",
        "image without a number",
    )
    assert distinct_names({"a": "x", "b": "y", "c": "x"}) == {"a": "x [1]", "b": "y", "c": "x [2]"}


def test_the_report_begins_with_statement_notice_and_highest_scores():
    made, _ = report("MR", {"SeriesNumber": 301}, label_set=SMALL)
    before = [i for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue in ("121106", "121111")]
    names = [i.ConceptNameCodeSequence[0].CodeValue for i in made.ContentSequence]
    assert [i.TextValue for i in before] == [
        "Research use only, not for diagnosis.",
        PROVENANCE.notice,
        "MR test (series 301), image 4: Support Devices 0.12",
        "MR test (series 301), image 4: Lung Lesion 0.08",
        "MR test (series 301), image 4: Pneumothorax 0.04",
    ]
    assert names.index("121106") < names.index("121111") < names.index("111028") < names.index("126010")
    assert read_report(made).summary == tuple(i.TextValue for i in before[2:])


def test_the_library_says_series_number_description_and_the_numbers_of_scored_images():
    made, _ = report("CT", label_set=SMALL)
    (group,) = library_groups(made)
    assert texts_of(group.ContentSequence, "113607") == ["3"]
    assert texts_of(group.ContentSequence, "131563") == ["test"]
    numbers = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: texts_of(i.get("ContentSequence") or (), "113609")
        for i in group.ContentSequence
        if i.ValueType == "IMAGE"
    }
    assert sorted(numbers) == [f"2.25.{2000 + n}" for n in range(4)]
    for score in read_report(made).scores:
        uid = score.frame.sop_instance_uid
        assert numbers[uid] == [str(int(uid[-1]) + 1)]
        assert score.image_name == f"image {int(uid[-1]) + 1}"


def test_what_an_image_does_not_say_is_not_made_up():
    made, _ = report("CR", full=False, label_set=SMALL)
    (group,) = library_groups(made)
    assert texts_of(group.ContentSequence, "113607") == []
    assert {s.series_name for s in read_report(made).scores} == {"CR test"}
    assert {s.image_name for s in read_report(made).scores if s.derivation} == {"image without a number [1]"}


@pytest.mark.parametrize("kind", ["CT", "ECT"])
def test_each_score_read_back_has_the_names_of_its_series_and_image(kind):
    made, _ = report(kind, label_set=SMALL, series=2)
    content = read_report(made)
    names = {s.series_instance_uid: s.series_name for s in content.scores}
    assert names == {SERIES: "CT test (series 3) [1]", f"{SERIES}.1": "CT test (series 3) [2]"}
    tracked = {
        texts_of(g.ContentSequence, "112039")[0]
        for g in made.ContentSequence[-1].ContentSequence
        if any(i.ValueType == "NUM" for i in g.ContentSequence)
    }
    frames = {f"{s.series_name}, {s.image_name}" for s in content.scores if s.derivation is None}
    assert tracked == frames | set(names.values())
    assert all(", frame " in s.image_name for s in content.scores) is (kind == "ECT")


@pytest.mark.parametrize("form", ["new", "first"])
def test_no_uid_tail_names_a_series_or_an_image(form):
    """As in the NEMA's CT and MR files, whose UIDs all end in `.20040826185059.5457`, tails tell nothing."""
    made = report("CT", label_set=SMALL, series=2)[0] if form == "new" else pydicom.dcmread(FIRST_FORM)
    content = read_report(made)
    for words in (report_text(content), report_html(content)):
        assert not UID_TAIL.search(words)
        for score in content.scores:
            assert score.frame.sop_instance_uid not in words
            assert f"{score.series_name}: " in words
            assert score.image_name in words
