"""Which labels apply to which images, and the words that say why others do not."""

from dataclasses import fields
from pathlib import Path

import pytest

from dicom_pipeline.domain import Frame, FrameKey, ImageTraits, SeriesPlan
from dicom_pipeline.errors import LabelSetError
from dicom_pipeline.scoring import LabelChoice, label_set_from, load_label_set, scope_of
from dicom_pipeline.scoring.applicability import applicability, labels_for
from dicom_pipeline.scoring.conditions import FIELDS, TRAITS, applies, conditions_from, reason_against

KNEE = ImageTraits("MR", "KNEE", "PD FS SAG\nMR KNEE LEFT", laterality="L", age_years=17)
BRAIN = ImageTraits("MR", "BRAIN", "AX T2 FLAIR", age_years=64)
UNSTATED = ImageTraits("MR")
BY_STUDY = ImageTraits("MR", "", "AX T2 FLAIR\nMRI BRAIN W WO CONTRAST")
ANY = {"name": "A", "positive": "a"}


def frame(traits, uid="1"):
    return Frame(FrameKey(uid), Path("x"), "s", traits=traits)


def made(*labels, **values):
    return label_set_from("t", {"kind": "zero-shot-sigmoid", "label": list(labels) or [ANY], **values})


def names(label_set, traits):
    return [label.name for label in labels_for(label_set, traits)]


def test_every_trait_can_be_a_condition():
    assert {FIELDS.get(key, key) for key in TRAITS} == {field.name for field in fields(ImageTraits)}


@pytest.mark.parametrize(
    ("condition", "traits", "met"),
    [
        ({"modality": ["MR"]}, KNEE, True),
        ({"modality": ["CT", "PT"]}, KNEE, False),
        ({"body_part": ["knee", "Hip"]}, KNEE, True),
        ({"body_part": ["KNEE"]}, UNSTATED, False),
        ({"body_part": ["KNEE", ""]}, UNSTATED, True),
        ({"body_part": "(?i)knee"}, UNSTATED, False),
        ({"description": "(?i)mr knee"}, KNEE, True),
        ({"description": "^MR KNEE"}, KNEE, False),
        ({"description": "(?m)^MR KNEE"}, KNEE, True),
        ({"laterality": ["L"]}, KNEE, True),
        ({"view": ["PA", "AP"]}, KNEE, False),
        ({"view": ["PA"]}, ImageTraits("CR", view="PA"), True),
        ({"age": {"min": 18}}, KNEE, False),
        ({"age": {"max": 17}}, KNEE, True),
        ({"age": {"min": 18}}, UNSTATED, False),
        ({"age": {"min": 18, "unknown": True}}, UNSTATED, True),
        ({"age": {"min": 18, "unknown": True}}, KNEE, False),
        ({"modality": ["MR"], "body_part": ["BRAIN"]}, KNEE, False),
        ([{"modality": ["CT"]}, {"body_part": ["KNEE"]}], KNEE, True),
        ([], KNEE, True),
    ],
)
def test_a_condition_is_met_or_not(condition, traits, met):
    alternatives = conditions_from("here", condition)
    assert applies(alternatives, traits) is met
    assert (reason_against(alternatives, traits) == "") is met


@pytest.mark.parametrize(
    "condition",
    [
        "MR",
        [{}],
        [3],
        {"organ": ["KNEE"]},
        {"modality": []},
        {"modality": [3]},
        {"modality": "("},
        {"age": 18},
        {"age": {}},
        {"age": {"unknown": True}},
        {"age": {"min": "18"}},
        {"age": {"min": 18, "below": 20}},
        {"age": {"min": True}},
    ],
)
def test_a_wrong_condition_is_refused(condition):
    with pytest.raises(LabelSetError, match=r"label set t.*applies_to"):
        made(applies_to=condition)
    with pytest.raises(LabelSetError, match=r"label set t, label 1.*applies_to"):
        made({**ANY, "applies_to": condition})


def test_a_set_and_each_of_its_labels_have_conditions():
    adult = {"name": "Adult", "positive": "a", "applies_to": {"age": {"min": 18}}}
    old_form = {"name": "CT only", "positive": "a", "modalities": ["CT"]}
    label_set = made(ANY, adult, old_form, applies_to={"modality": ["MR", "CT"]})
    assert names(label_set, KNEE) == ["A"]
    assert names(label_set, BRAIN) == ["A", "Adult"]
    assert names(label_set, ImageTraits("CT")) == ["A", "CT only"]
    assert names(label_set, ImageTraits("CR")) == []
    assert names(label_set, None) == ["A", "Adult", "CT only"]


def test_a_set_without_conditions_applies_to_everything():
    assert names(made(), ImageTraits("")) == ["A"]
    assert applicability(made(), [frame(KNEE)]).reasons == ()
    assert scope_of(made()) == "every image"


def test_reasons_say_what_was_expected_and_name_no_description_and_no_age():
    label_set = made(
        {"name": "Adult", "positive": "a", "applies_to": {"age": {"min": 18}}},
        {"name": "Right", "positive": "a", "applies_to": {"laterality": ["R"]}},
        {"name": "CT only", "positive": "a", "modalities": ["CT"]},
        {"name": "Named", "positive": "a", "applies_to": {"description": "hip"}},
    )
    found = applicability(label_set, [frame(KNEE)])
    assert found.labels == ()
    assert found.reasons == (
        "Adult: patient's age is not 18 years or more",
        "Right: laterality L, expected R",
        "CT only: modality MR, expected CT",
        "Named: no description is like hip",
    )
    (unstated,) = applicability(made(applies_to={"body_part": ["KNEE"]}), [frame(UNSTATED)]).reasons
    assert unstated == "body part not stated, expected KNEE"
    (knee,) = applicability(load_label_set("mr-brain"), [frame(KNEE)]).reasons
    assert knee == "body part KNEE, expected like (?i)brain|head|skull|cerebr|crani or none"


def test_a_label_that_applies_to_one_frame_alone_is_listed_with_the_reason_for_the_others():
    frontal = made(applies_to={"view": ["PA", "AP"]})
    found = applicability(frontal, [frame(ImageTraits("CR", view="PA")), frame(ImageTraits("CR", view="LL"), "2")])
    assert (found.labels, found.reasons) == (("A",), ("view LL, expected PA or AP",))


@pytest.mark.parametrize(
    ("name", "traits", "scored"),
    [
        ("mr-brain", BRAIN, True),
        ("mr-brain", BY_STUDY, True),
        ("mr-brain", KNEE, False),
        ("mr-brain", UNSTATED, False),
        ("mr-brain", ImageTraits("CT", "BRAIN"), False),
        ("mr-brain", ImageTraits("MR", "", "T1\nHüfte, femoral head necrosis"), False),
        ("mr-brain", ImageTraits("MR", "", "MRT Schädel"), True),
        ("mr-brain", ImageTraits("MR", "HIP", "head"), False),
        ("ct-chest", ImageTraits("CT", "CHEST"), True),
        ("ct-chest", ImageTraits("CT", "", "CT THORAX"), True),
        ("ct-chest", ImageTraits("CT", "HEAD", "CT CHEST"), False),
        ("ct-chest", ImageTraits("CT", "", "attribution"), False),
        ("cxr-13", ImageTraits("DX", "CHEST", view="PA"), True),
        ("cxr-13", ImageTraits("CR", "", "CXR_PA"), True),
        ("cxr-13", ImageTraits("CR", "HAND"), False),
        ("cxr-13", ImageTraits("CR"), False),
    ],
)
def test_shipped_sets_score_what_they_were_written_for(name, traits, scored):
    label_set = load_label_set(name)
    assert len(names(label_set, traits)) == (len(label_set.labels) if scored else 0)


def test_several_sets_share_no_label_name():
    choice = LabelChoice.load(["cxr-13", "ct-chest"], ["mr-brain"])
    every = [label.name for label in choice.labels]
    assert len(every) == len(set(every)) == 13 + 7 + 5
    assert "Cardiomegaly [cxr-13]" in every
    assert "Cardiomegaly [ct-chest]" in every
    assert "Pneumonia" in every
    assert [x.name for x in LabelChoice.load(["ct-chest"]).labels] == [
        x.name for x in load_label_set("ct-chest").labels
    ]


def test_a_series_is_scored_by_the_sets_of_its_rule_else_by_the_settings():
    choice = LabelChoice.load(["phantom"], ["mr-brain", "phantom"])
    series = [SeriesPlan("1", "MR", "", "mr-percentile", "all", (), label_sets=x) for x in (None, (), ("mr-brain",))]
    assert [[s.name for s in choice.sets_for(each)] for each in series] == [["phantom"], [], ["mr-brain"]]
    assert [s.name for s in choice.sets] == ["phantom", "mr-brain"]
    assert LabelChoice.load(["none"]) == LabelChoice()


def test_two_files_of_one_name_are_refused(tmp_path):
    text = 'kind = "zero-shot-sigmoid"\n[[label]]\nname = "A"\npositive = "{}"\n'
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(text.format(folder))
    one, two = (tmp_path / folder / "mine.toml" for folder in ("one", "two"))
    for arguments in (([one, two],), ([one], [str(two)])):
        with pytest.raises(LabelSetError, match="rename"):
            LabelChoice.load(*arguments)
