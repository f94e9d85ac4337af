"""What an instance says of itself that decides which labels apply to it."""

import pydicom
import pytest
from pydicom.sequence import Sequence

from dicom_pipeline.domain import ImageTraits
from dicom_pipeline.errors import RuleError
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.traits import age_of, traits_of
from tests.planning.made import only_series, plan_of, stack, synthetic


def item(**values) -> pydicom.Dataset:
    made = pydicom.Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_the_traits_of_a_radiograph():
    header = synthetic(
        1,
        Modality="CR",
        BodyPartExamined="CHEST",
        SeriesDescription="PA",
        StudyDescription="Thorax 2 views",
        ProtocolName="PA",
        ViewPosition="PA",
        ImageLaterality="U",
        PatientAge="067Y",
    )
    assert traits_of(header) == ImageTraits("CR", "CHEST", "PA\nThorax 2 views", "PA", "U", 67)


def test_enhanced_objects_say_it_in_sequences():
    region = item(AnatomicRegionSequence=Sequence([item(CodeMeaning="Knee")]))
    shared = Sequence([item(FrameAnatomySequence=Sequence([region]))])
    enhanced = synthetic(1, SharedFunctionalGroupsSequence=shared)
    assert traits_of(enhanced).body_part == "Knee"
    digital = synthetic(1, ViewCodeSequence=Sequence([item(CodeMeaning="postero-anterior")]), Laterality="L")
    assert (traits_of(digital).view, traits_of(digital).laterality) == ("postero-anterior", "L")


def test_nothing_stated_is_empty():
    assert traits_of(synthetic(1)) == ImageTraits("CT")


@pytest.mark.parametrize(
    ("values", "years"),
    [
        ({"PatientAge": "018Y"}, 18),
        ({"PatientAge": "42Y"}, 42),
        ({"PatientAge": "023M"}, 1),
        ({"PatientAge": "024M"}, 2),
        ({"PatientAge": "005W"}, 0),
        ({"PatientAge": "42"}, None),
        ({"PatientAge": "999Y"}, None),
        ({"PatientBirthDate": "20000229", "StudyDate": "20180228"}, 17),
        ({"PatientBirthDate": "20000229", "StudyDate": "20180301"}, 18),
        ({"PatientBirthDate": "20200101", "StudyDate": "20180301"}, None),
        ({"PatientBirthDate": "", "StudyDate": "20180301"}, None),
        ({"PatientAge": "", "PatientBirthDate": "19500101", "StudyDate": "20200102"}, 70),
    ],
)
def test_ages_are_completed_years(values, years):
    assert age_of(item(**values)) == years


def test_each_frame_has_the_traits_of_its_own_image():
    views = [
        synthetic(n, Modality="CR", ViewPosition=view, ImageOrientationPatient=None, ImagePositionPatient=None)
        for n, view in enumerate(("PA", "LL"))
    ]
    frames = only_series(views).frames
    assert {frame.traits.view for frame in frames} == {"PA", "LL"}
    by_uid = {header.sop_instance_uid: header.text("ViewPosition") for header in views}
    assert all(frame.traits.view == by_uid[frame.key.sop_instance_uid] for frame in frames)


def test_score_rules_choose_label_sets_for_a_series_first_come():
    table = {
        "render": [{"preset": "ct-medgemma-report"}],
        "score": [
            {"BodyPartExamined": ["HEAD"], "label_sets": ["mr-brain", "mine/heads.toml"]},
            {"Modality": ["CT"], "BodyPartExamined": ["KNEE"], "label_sets": []},
        ],
    }
    rules = rules_from(table)
    headers = stack(2, "1.1", BodyPartExamined="HEAD") + stack(2, "1.2", BodyPartExamined="KNEE") + stack(2, "1.3")
    chosen = {series.series_instance_uid: series.label_sets for series in plan_of(headers, rules).series}
    assert chosen == {"1.1": ("mr-brain", "heads"), "1.2": (), "1.3": None}
    assert rules.named_label_sets == ("mr-brain", "mine/heads.toml")


@pytest.mark.parametrize(
    "entry", [{}, {"label_sets": "mr-brain"}, {"label_sets": [""]}, {"Modalty": ["CT"], "label_sets": []}]
)
def test_a_wrong_score_rule_is_refused(entry):
    with pytest.raises(RuleError, match="score"):
        rules_from({"score": [entry]})
