"""What Image Type says, and when it excludes: words of data/selection.toml, mosaics, reformats."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_pipeline.domain import Reason
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.recognition.kinds import exclusion_reason
from dicom_pipeline.planning.recognition.words import WordList, parts_of, selection_terms
from tests.planning.made import AXIAL, CORONAL, only_series, plan_of, reasons_of, stack, synthetic

ORIGINAL, DERIVED = ["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"]


def reason_of(image_type, **values):
    found = exclusion_reason(synthetic(1, ImageType=image_type, **values))
    return found and found[0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["MIP"], Reason.DERIVED),
        (["MIP_COR"], Reason.DERIVED),
        (["CSA MIP", "ND"], Reason.DERIVED),
        (["MNIP"], Reason.DERIVED),
        (["MAX_IP"], Reason.DERIVED),
        (["PROJECTION IMAGE", "M", "FFE"], Reason.DERIVED),
        (["M", "SUB", "NORM"], Reason.DERIVED),
        (["PERFUSION", "RELCBF"], Reason.DERIVED),
        (["CBF_RGB"], Reason.DERIVED),
        (["T2 MAP"], Reason.DERIVED),
        (["DIFFUSION", "FA", "ND"], Reason.DERIVED),
        (["REFORMATTED", "MAX"], Reason.DERIVED),
        (["ADC"], Reason.ADC_MAP),
        (["ADC_MAP"], Reason.ADC_MAP),
        (["DIFFUSION", "ADC", "ND", "NORM"], Reason.ADC_MAP),
        (["eADC"], Reason.ADC_MAP),
        (["MPR"], Reason.REFORMAT),
        (["CSA MPR", "", "CSAPARALLEL"], Reason.REFORMAT),
        (["REFORMATTED", "AVERAGE"], Reason.REFORMAT),
        (["VOLUME", "RESAMPLED"], Reason.REFORMAT),
        (["LOCALIZER"], Reason.LOCALIZER),
        (["VOLUME"], None),
        (["VOLUME", "T1"], None),
        (["DIFFUSION", "TRACEW", "ND"], None),
        (["DIFFUSION", "CALC_BVALUE"], None),
        (["AXIAL", "CT_SOM5 SPI"], None),
        (["PRE_CONTRAST"], None),
    ],
)
def test_words_of_derived_images(words, reason):
    assert reason_of(DERIVED + words, Modality="MR") is reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["VOLUME", "NONE"], None),
        (["M", "MAP"], None),
        (["M", "FFE", "3D"], None),
        (["M", "FA"], None),
        (["MAX"], None),
        (["ADC"], Reason.ADC_MAP),
        (["MIP"], Reason.DERIVED),
        (["LOCALIZER"], Reason.LOCALIZER),
    ],
)
def test_weak_words_exclude_no_original(words, reason):
    assert reason_of(ORIGINAL + words, Modality="MR") is reason


def test_image_type_of_other_modalities_is_not_read_for_maps():
    assert reason_of(["DERIVED", "PRIMARY", "MIP"], Modality="US") is None


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(selection_terms().image_type[2].words.exact)), st.sampled_from(["_", " ", "-", "", "2"]))
def test_a_word_is_found_with_anything_that_is_no_letter_around_it(word, mark):
    words = selection_terms().image_type[2].words
    assert words.find(f"{word}{mark}")
    assert words.find(f"COR{mark}{word}".lower()) or mark == ""
    assert not words.find(f"X{word}X")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=20))
def test_every_text_has_parts_and_is_found_in_its_own_list(text):
    found = WordList.of([text]).find(text)
    assert bool(found) == bool(parts_of(text)) or len(parts_of(text)) > 4


MOSAIC = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"AcquisitionMatrix": [64, 0, 0, 64], "Rows": 384, "Columns": 384}, Reason.MOSAIC),
        ({"Rows": 512, "Columns": 512, "PixelSpacing": [3, 3]}, Reason.MOSAIC),
        ({"AcquisitionMatrix": [64, 0, 0, 64], "Rows": 64, "Columns": 64}, None),
        ({"AcquisitionMatrix": [64, 0, 0, 64], "Rows": 384, "Columns": 384, "frames": 36}, None),
        ({}, None),
    ],
)
def test_a_mosaic_is_one_frame_with_its_marks(values, reason):
    assert reason_of(MOSAIC, Modality="MR", **values) is reason


def test_a_mosaic_whose_slices_make_no_grid_is_excluded_by_its_private_mark():
    header = synthetic(1, Modality="MR", ImageType=MOSAIC)
    header.dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 36)
    assert exclusion_reason(header) == (Reason.MOSAIC, "Siemens mosaic that cannot be split: 36 slices")


REFORMAT = {"ImageType": [*DERIVED, "MPR"], "ImageOrientationPatient": CORONAL, "SeriesNumber": 5}


def test_a_reformat_is_excluded_beside_its_source():
    headers = stack(6, "1.3", FrameOfReferenceUID="1.9", SeriesNumber=2)
    headers += stack(4, "1.4", FrameOfReferenceUID="1.9", **REFORMAT)
    plan = plan_of(headers)
    assert [series.series_instance_uid for series in plan.series] == ["1.3"]
    assert {(item.reason, item.detail) for item in plan.excluded} == {
        (Reason.REFORMAT, "Image Type MPR; series 2 shows the same volume")
    }


def test_a_reformat_is_used_with_a_note_where_its_source_is_not_in_the_study():
    series = only_series(stack(4, **REFORMAT))
    assert len(series.frames) == 4
    assert "a reformat (Image Type MPR) whose source series is not in the study" in series.choice_note


@pytest.mark.parametrize(
    "other",
    [
        {"FrameOfReferenceUID": "1.8"},
        {"Modality": "PT"},
        {"FrameOfReferenceUID": "1.9", "ImageType": [*ORIGINAL, "LOCALIZER"]},
        {"FrameOfReferenceUID": "1.9", "KVP": 80},
    ],
)
def test_a_series_of_another_volume_is_no_source(other):
    thicker = {**REFORMAT, "ImageOrientationPatient": AXIAL}
    headers = stack(4, "1.3", **other) + stack(4, "1.4", FrameOfReferenceUID="1.9", KVP=120, **thicker)
    assert reasons_of(headers)["1.4"] == "used"


def test_source_images_that_are_named_settle_it():
    source = stack(4, "1.3", FrameOfReferenceUID="1.8", Modality="MR")
    reformats = stack(4, "1.4", FrameOfReferenceUID="1.9", Modality="MR", **REFORMAT)
    for header in reformats:
        item = type(header.dataset)()
        item.ReferencedSOPInstanceUID = source[0].sop_instance_uid
        header.dataset.SourceImageSequence = [item]
    assert reasons_of(source + reformats) == {"1.3": "used", "1.4": "reformat"}
    assert reasons_of(reformats)["1.4"] == "used"


def test_a_rule_keeps_adc_maps_and_reformats():
    rules = rules_from({"render": [{"Modality": ["CT", "MR"], "preset": "x"}], "keep": ["adc-map", "reformat"]})
    headers = stack(4, "1.3", Modality="MR", FrameOfReferenceUID="1.9")
    headers += stack(4, "1.4", Modality="MR", FrameOfReferenceUID="1.9", ImageType=[*DERIVED, "ADC"])
    headers += stack(4, "1.5", Modality="MR", FrameOfReferenceUID="1.9", ImageType=[*DERIVED, "MPR"])
    assert reasons_of(headers) == {"1.3": "used", "1.4": "adc-map", "1.5": "reformat"}
    assert set(reasons_of(headers, rules).values()) == {"used"}


@pytest.mark.parametrize(
    ("description", "values", "reason"),
    [
        ("Dose Report", {}, Reason.DOSE_PAGE),
        ("Patient_Protocol", {}, Reason.DOSE_PAGE),
        ("low dose chest 1.25", {}, None),
        ("liver protocol", {}, None),
        ("Dose", {"ImagePositionPatient": None}, Reason.DOSE_PAGE),
        ("Dosisprotokoll", {}, Reason.DOSE_PAGE),
        ("low dose chest", {"ImageType": [*ORIGINAL, "AXIAL"], "ImagePositionPatient": None}, None),
    ],
)
def test_pages_are_known_by_their_name_and_low_dose_ct_is_none(description, values, reason):
    header = synthetic(1, **({"ImageType": [*DERIVED, "AXIAL"], "SeriesDescription": description} | values))
    found = exclusion_reason(header)
    assert (found and found[0]) is reason
