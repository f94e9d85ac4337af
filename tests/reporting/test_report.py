"""Reports: valid over a matrix of sources, the same bytes in any process, and read back as they were written."""

import copy
import hashlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.dicom.part10 import encode, named
from dicom_pipeline.domain import Derivation, Domain, FrameDomain, FrameKey, Label, LabelSet, ScoreKind, score_text
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import SR_CLASSES, as_class, equipment, read_report, report_html, report_text
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, need, pixelmed_errors_of
from tests.reporting.made import PROVENANCE, SMALL, STUDY, made_scores, report
from tests.reporting.test_companions import companions

ODD_TAGS = {
    "empty": dict.fromkeys(
        ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate"), ""
    ),
    "wrong": {
        "PatientSex": "X",
        "PatientBirthDate": "31.12.1970",
        "StudyTime": "25:61",
        "TimezoneOffsetFromUTC": "CET",
    },
    "long": {"StudyDescription": "y" * 64, "StudyID": "1" * 16, "InstitutionName": "z" * 64},
    "zone": {"TimezoneOffsetFromUTC": "-0530"},
    "latin": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    "greek": {"SpecificCharacterSet": "ISO_IR 126", "PatientName": "Διονυσιος"},
    "japanese": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    "korean": {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "Hong^Gildong=洪^吉洞=홍^길동"},
}


def written(dataset, tmp_path, name="report.dcm"):
    path = tmp_path / name
    path.write_bytes(encode(dataset))
    return path


@pytest.mark.system
@pytest.mark.parametrize("kind", ["CT", "MR", "CR", "DX", "MG", "ECT"])
@pytest.mark.parametrize("full", [True, False], ids=["full", "minimal"])
def test_every_modality_passes_dciodvfy_and_dsrdump(kind, full, tmp_path):
    path = written(report(kind, full=full)[0], tmp_path)
    assert dciodvfy_errors(path) == []
    assert dsrdump_errors(path) == []


@pytest.mark.system
@pytest.mark.parametrize("tags", ODD_TAGS.values(), ids=ODD_TAGS)
def test_odd_source_tags_give_a_valid_report(tags, tmp_path):
    made, _ = report("CT", tags)
    path = written(made, tmp_path)
    assert dciodvfy_errors(path) == []
    assert dsrdump_errors(path) == []
    if "PatientName" in tags:
        assert str(pydicom.dcmread(path).PatientName) == tags["PatientName"]


@pytest.mark.system
@pytest.mark.parametrize("sop_class", SR_CLASSES)
def test_every_sr_class_is_valid_and_has_its_own_uid(sop_class, tmp_path):
    made, _ = report("CT", sop_class_uid=sop_class)
    assert made.SOPClassUID == sop_class
    assert dciodvfy_errors(written(made, tmp_path)) == []
    assert (made.SOPInstanceUID == report("CT")[0].SOPInstanceUID) == (sop_class == next(iter(SR_CLASSES)))


def without(keyword):
    def change(made):
        delattr(made, keyword)

    return change


def other_root(made):
    made.ContentTemplateSequence[0].TemplateIdentifier = "9999"


def no_relationship(made):
    del made.ContentSequence[0].RelationshipType


def wrong_relationship(made):
    made.ContentSequence[-1].ContentSequence[0].RelationshipType = "HAS PROPERTIES"


def no_measured_value(made):
    number = next(i for i in made.ContentSequence[-1].ContentSequence[0].ContentSequence if i.ValueType == "NUM")
    number.MeasuredValueSequence[0].NumericValue = None


BROKEN = {
    "flag": (without("CompletionFlag"), {"dciodvfy"}),
    "equipment": (without("Manufacturer"), {"dciodvfy"}),
    "relationship": (no_relationship, {"dsrdump"}),
    "wrong-relationship": (wrong_relationship, {"pixelmed"}),
    "root": (other_root, {"pixelmed"}),
    "number": (no_measured_value, {"dciodvfy", "dsrdump", "pixelmed"}),
}
"""What is broken and who at least must notice."""


@pytest.mark.system
def test_each_validator_would_notice(tmp_path):
    noticed = {}
    for name, (change, _) in BROKEN.items():
        made, _ = report("CR", key_frames=0, label_set=SMALL)
        change(made)
        path = written(made, tmp_path, f"{name}.dcm")
        noticed[name] = {"dciodvfy"} if dciodvfy_errors(path) else set()
        noticed[name] |= {"dsrdump"} if dsrdump_errors(path) else set()
    judged = pixelmed_errors_of([tmp_path / f"{name}.dcm" for name in BROKEN])
    for path, errors in judged.items():
        noticed[path.stem] |= {"pixelmed"} if errors else set()
    assert [name for name, (_, must) in BROKEN.items() if not must <= noticed[name]] == []


def test_the_same_report_has_the_same_bytes_in_another_process(tmp_path):
    here = encode(report("CT")[0])
    code = (
        "import sys; from tests.reporting.made import report; from dicom_pipeline.dicom.part10 import encode;"
        "sys.stdout.buffer.write(encode(report('CT')[0]))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert here == there


def test_any_change_gives_another_uid():
    uids = {
        str(report("CT", **o)[0].SOPInstanceUID)
        for o in ({}, {"number": 2}, {"key_frames": 1}, {"predecessor": "2.25.9"})
    }
    assert len(uids) == 4


def test_what_is_written_is_read_back():
    made, scores = report("CT", predecessor="2.25.77", number=2)
    content = read_report(pydicom.dcmread(io.BytesIO(encode(made))))
    assert content.study_instance_uid == STUDY
    assert (content.revision, content.predecessor) == (2, "2.25.77")
    assert content.fingerprint == PROVENANCE.fingerprint
    assert content.parameters["weights"] == PROVENANCE.weights
    assert content.parameters["notice"] == PROVENANCE.notice
    series = {s.label: s.value for s in content.scores if s.derivation is not None}
    assert series == {s.label: pytest.approx(s.value, abs=1e-6) for s in scores if s.derivation is not None}
    frames = {(s.label, s.frame): s.value for s in content.scores if s.derivation is None}
    written_scores = {(s.label, s.frame): s.value for s in scores if s.derivation is None}
    assert frames
    assert all(value == pytest.approx(written_scores[key], abs=1e-6) for key, value in frames.items())
    assert len({key[1] for key in frames}) == 3


def test_the_flags_say_research_and_unverified():
    made, _ = report("CT")
    assert made.ContentQualification == "RESEARCH"
    assert (made.VerificationFlag, made.CompletionFlag, made.PreliminaryFlag) == (
        "UNVERIFIED",
        "COMPLETE",
        "PRELIMINARY",
    )
    assert made.SeriesDescription.startswith("AI RESEARCH")
    assert is_own_object(made)
    procedure = [i for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121058"]
    assert procedure[0].ConceptCodeSequence[0].CodeValue == "25045-6"
    tracking = [g.ContentSequence for g in made.ContentSequence[-1].ContentSequence]
    uids = [str(i.UID) for group in tracking for i in group if i.ValueType == "UIDREF"]
    assert len(uids) == len(set(uids)) == 4


def test_times_are_the_revisions_in_the_sources_zone():
    made, _ = report("CT", {"TimezoneOffsetFromUTC": "-0530"})
    assert (made.ContentDate, made.ContentTime, made.TimezoneOffsetFromUTC) == ("20260102", "063000", "-0530")


def test_the_source_is_not_touched_and_nothing_to_say_is_refused():
    import copy

    from tests.reporting.made import header

    source = header("CT", 0)
    before = copy.deepcopy(source)
    report("CT")
    assert source == before
    with pytest.raises(ReportError):
        report("CT", {"StudyInstanceUID": ""})


def test_text_for_people_has_the_statement_and_every_label():
    text = report_text(read_report(report("CR")[0]))
    assert "Research use only, not for diagnosis." in text
    assert "Pneumothorax" in text


def test_another_makers_report_is_no_report_of_ours():
    from pydicom.data import get_testdata_file

    with pytest.raises(ReportError):
        read_report(pydicom.dcmread(get_testdata_file("reportsi.dcm")))


ANOTHER_PROCESS = """
import datetime, hashlib, locale, sys, time
class Day(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(2031, 12, 31, 23, 59, 58, tzinfo=tz)
    @classmethod
    def today(cls): return cls.now()
datetime.datetime = Day
time.time = lambda: 1956527998.0
locale.setlocale(locale.LC_ALL, "")
from dicom_pipeline.dicom.part10 import encode
from tests.reporting.made import report
from tests.reporting.test_companions import companions
made = [report("ECT", {"TimezoneOffsetFromUTC": "+0545"})[0], *companions("CR")[0]]
print(*(f"{d.SOPInstanceUID} {hashlib.sha256(encode(d)).hexdigest()}" for d in made), sep="\\n")
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu"},
    ],
)
def test_reports_and_companions_are_the_same_in_any_process_on_any_day(environment):
    here = [report("ECT", {"TimezoneOffsetFromUTC": "+0545"})[0], *companions("CR")[0]]
    there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ANOTHER_PROCESS],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.split("\n")[:-1] == [
        f"{d.SOPInstanceUID} {hashlib.sha256(encode(d)).hexdigest()}" for d in here
    ]


def test_a_uid_is_named_by_every_byte():
    """Content under a UID never changes: what differs in one attribute, anywhere, has another UID."""
    for dataset in (report("CT")[0], *companions("CR")[0]):
        for keyword, value in (("StudyID", "other"), ("ContentTime", "010203"), ("DeviceSerialNumber", "0" * 16)):
            other = copy.deepcopy(dataset)
            setattr(other, keyword, value)
            assert named(other).SOPInstanceUID != dataset.SOPInstanceUID
        assert named(copy.deepcopy(dataset)).SOPInstanceUID == dataset.SOPInstanceUID


def test_changed_settings_name_the_report_before():
    """Whatever made the next report (a late instance or other settings), it says which one it replaces."""
    first, _ = report("CT", label_set=SMALL)
    second, _ = report("CT", label_set=SMALL, key_frames=1, number=2, predecessor=str(first.SOPInstanceUID))
    (study,) = second.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == first.StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID == second.SeriesInstanceUID
    (reference,) = series.ReferencedSOPSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (
        first.SOPClassUID,
        first.SOPInstanceUID,
    )
    for sop_class in SR_CLASSES:  # a node that takes a simpler class has the one before in that class too
        converted = as_class(second, sop_class)
        (reference,) = converted.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert reference.ReferencedSOPInstanceUID == as_class(first, sop_class).SOPInstanceUID


def test_the_report_before_may_be_of_another_class():
    """`report.sop_class` was changed between two revisions: the reference says what the first one is."""
    rich, plain, _ = SR_CLASSES
    for before, now in ((rich, plain), (plain, rich)):
        first, _ = report("CT", label_set=SMALL, sop_class_uid=before)
        second, _ = report(
            "CT",
            label_set=SMALL,
            sop_class_uid=now,
            number=2,
            predecessor=str(first.SOPInstanceUID),
            predecessor_class=before,
        )
        for made in (second, as_class(second, plain)):
            (reference,) = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
            assert reference.ReferencedSOPClassUID == before
            assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_evidence_is_of_the_study_and_of_what_was_used_alone():
    made, _ = report("ECT", series=2, label_set=SMALL)
    (study,) = made.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == STUDY
    cited = {str(r.ReferencedSOPInstanceUID) for s in study.ReferencedSeriesSequence for r in s.ReferencedSOPSequence}
    assert cited == {f"2.25.{2000 + i}" for i in (*range(4), *range(10, 14))}
    assert "PertinentOtherEvidenceSequence" not in made
    mentioned = {str(e.value) for e in made.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert mentioned == cited


@pytest.mark.parametrize("key_frames", [0, 1, 2, 3, 50])
def test_only_the_highest_frames_of_each_series(key_frames):
    made, scores = report("CT", series=2, label_set=SMALL, key_frames=key_frames)
    shown = {s.frame for s in read_report(made).scores if s.derivation is None}
    highest = set()
    for series in {s.series_instance_uid for s in scores}:
        mine = [s for s in scores if s.series_instance_uid == series and s.derivation is None]
        best = {frame: max(s.value for s in mine if s.frame == frame) for frame in {s.frame for s in mine}}
        highest |= set(sorted(best, key=lambda frame: -best[frame])[:key_frames])
    assert shown == highest


def test_the_pipeline_and_the_model_are_each_one_identity():
    """The pipeline: equipment and device observer; the model: the algorithm. Both contributed (IHE AI Results)."""
    made, _ = report("CT", label_set=SMALL)
    pipeline, model = made.ContributingEquipmentSequence
    by_code = {}
    for item in (*made.ContentSequence, *made.ContentSequence[-1].ContentSequence[0].ContentSequence):
        by_code[str(item.ConceptNameCodeSequence[0].CodeValue)] = item
    assert pipeline.DeviceUID == by_code["121012"].UID
    assert by_code["121014"].TextValue == pipeline.Manufacturer == made.Manufacturer
    assert by_code["121015"].TextValue == pipeline.ManufacturerModelName == made.ManufacturerModelName
    assert pipeline.SoftwareVersions == made.SoftwareVersions
    assert by_code["111001"].TextValue == model.ManufacturerModelName == "phantom"
    assert by_code["111003"].TextValue == model.SoftwareVersions == PROVENANCE.weights


def test_the_model_s_device_uid_follows_its_weights_and_not_its_name():
    def device(**changes):
        pipeline, model = equipment.contributing_equipment(replace(PROVENANCE, **changes))
        assert pipeline.DeviceUID != model.DeviceUID
        return model

    assert device(encoder="other").DeviceUID == device().DeviceUID != device(weights="cd" * 32).DeviceUID
    hub, folder = device(encoder="google/medsiglip-448"), device(encoder="/models/of/a/site/mine/")
    assert (hub.Manufacturer, hub.ManufacturerModelName) == ("google", "medsiglip-448")
    assert (folder.Manufacturer, folder.ManufacturerModelName) == ("unknown", "mine")


def requested(**attributes):
    item = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def test_orders_of_the_images_are_referred_to():
    code = requested(CodeValue="CTHEAD", CodingSchemeDesignator="99SITE", CodeMeaning="CT of the head")
    half = requested(CodeValue="X")
    orders = [
        requested(
            RequestedProcedureID="P1", RequestedProcedureDescription="Head", RequestedProcedureCodeSequence=[half, code]
        ),
        requested(RequestedProcedureID="P1", ScheduledProcedureStepID="S2"),
        requested(RequestedProcedureID="P2", AccessionNumber="A2"),
        requested(RequestedProcedureID="P3", AccessionNumber=["A3", "A4"]),
    ]
    tags = {"RequestAttributesSequence": orders, "PlacerOrderNumberImagingServiceRequest": "PL"}
    made = report("CT", tags, label_set=SMALL)[0].ReferencedRequestSequence
    assert [(i.AccessionNumber, i.RequestedProcedureID) for i in made] == [("A1", "P1"), ("A2", "P2"), ("", "P3")]
    assert {i.StudyInstanceUID for i in made} == {"2.25.1001"}
    assert [c.CodeValue for c in made[0].RequestedProcedureCodeSequence] == ["CTHEAD"]
    assert (made[0].RequestedProcedureDescription, made[0].PlacerOrderNumberImagingServiceRequest) == ("Head", "PL")
    assert "ReferencedRequestSequence" not in report("CT", label_set=SMALL)[0]


def test_text_and_page_group_by_series_and_judge_thresholds():
    content = read_report(report("CT", series=2, label_set=SMALL)[0])
    for words in (report_text(content), report_html(content)):
        assert words.count("key frames") == 2
        assert "above threshold" in words
        assert "below threshold" in words
        assert "2026-01-02 12:00 +0000" in words
    assert "<script" not in report_html(replace_label(content, "<script>alert(1)</script>"))


def replace_label(content, label):
    return replace(content, scores=tuple(replace(score, label=label) for score in content.scores))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(value):
    labels = replace(SMALL, labels=SMALL.labels[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reporting.made.made_scores", lambda *a: [replace(s, value=value) for s in made_scores(*a)])
        with pytest.raises(ReportError, match="finite"):
            report("CT", label_set=labels)


@settings(deadline=None, max_examples=60, database=None)
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=120)
        .map(str.strip)
        .filter(bool),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    kind=st.sampled_from(ScoreKind),
    derivation=st.sampled_from(Derivation),
    threshold=st.none() | st.floats(0, 1),
    image=st.sampled_from(("CT", "ECT")),
    series=st.integers(1, 3),
    predecessor=st.none() | st.just("2.25.5"),
    key_frames=st.integers(0, 5),
)
def test_any_report_is_read_back_as_it_was_written(
    names, kind, derivation, threshold, image, series, predecessor, key_frames
):
    labels = LabelSet("t", "1", tuple(Label(n, ("x",), ("y",), threshold=threshold) for n in names), kind)
    made, scores = report(
        image, label_set=labels, derivation=derivation, series=series, predecessor=predecessor, key_frames=key_frames
    )
    content = read_report(pydicom.dcmread(io.BytesIO(encode(made))))
    read = {(s.label, s.kind, s.derivation, s.frame, s.series_instance_uid): s for s in content.scores}
    written = {(s.label, s.kind, s.derivation, s.frame, s.series_instance_uid): s for s in scores}
    assert set(read) <= set(written)
    assert {k for k in written if k[2] is not None} <= set(read)
    for key, score in read.items():
        assert score.value == pytest.approx(written[key].value, abs=5e-7)
        assert score.above_threshold == (None if threshold is None else written[key].value >= threshold)
    assert len({(key[4], key[3]) for key in read if key[2] is None}) == series * min(key_frames, 4)
    assert content.predecessor == predecessor
    assert content.parameters["weights"] == PROVENANCE.weights
    assert content.fingerprint == PROVENANCE.fingerprint


def test_companions_damaged_reports_and_those_of_others_are_distinct_names(tmp_path):
    with pytest.raises(ReportError, match="a companion"):
        read_report(companions("CR")[0][0])
    with pytest.raises(ReportError, match="another maker"):
        read_report(pydicom.dcmread(get_testdata_file("CT_small.dcm")))
    damaged = report("CT", label_set=SMALL)[0]
    del damaged.ContentSequence[-1].ContentSequence[0].ContentSequence[-4].MeasuredValueSequence
    with pytest.raises(ReportError, match="damaged"):
        read_report(damaged)


@pytest.mark.system
def test_a_report_of_dcmtk_is_no_report_of_ours(tmp_path):
    """A TID 1500 document of another maker: the same root, concepts and class as ours."""
    made, _ = report("CT", label_set=SMALL)
    del made.ContributingEquipmentSequence
    made.Manufacturer = "Another"
    path = written(made, tmp_path)
    subprocess.run([need("dsr2xml"), path, tmp_path / "r.xml"], check=True)
    subprocess.run([need("xml2dsr"), tmp_path / "r.xml", tmp_path / "theirs.dcm"], check=True)
    with pytest.raises(ReportError, match="another maker"):
        read_report(pydicom.dcmread(tmp_path / "theirs.dcm"))


@pytest.mark.parametrize("value", [1.2345678e-9, 0.000012345678, 0.70838723, 1.0, 0.0])
def test_small_scores_keep_six_digits_that_count(value):
    """A SigLIP sigmoid is often below a millionth; rounded to six places it would be 0."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.reporting.made.made_scores", lambda *a: [replace(s, value=value) for s in made_scores(*a)])
        made, _ = report("CT", label_set=SMALL)
    content = read_report(pydicom.dcmread(io.BytesIO(encode(made))))
    assert {score.value for score in content.scores} == {float(f"{value:.6g}")}
    assert score_text(value) in report_text(content)
    assert f">{score_text(value)}<" in report_html(content)


def test_a_report_can_do_nothing_to_the_terminal_that_shows_it():
    content = read_report(report("CT", label_set=SMALL)[0])
    hostile = replace(
        replace_label(content, "red \x1b[31m\x9b2J bell \x07\nnew line\u2028"),
        parameters={**content.parameters, "notice": "\x1b]0;title\x07", "encoder": "\r\nResearch"},
    )
    hostile = replace(hostile, scores=tuple(replace(score, value=1e12) for score in hostile.scores))
    words = report_text(hostile)
    assert len(words.splitlines()) == len(report_text(content).splitlines())
    assert all(character.isprintable() or character == "\n" for character in words)
    assert len(words) < 20_000


def test_a_score_that_is_read_back_is_a_number():
    made = pydicom.dcmread(io.BytesIO(encode(report("CT", label_set=SMALL)[0])))
    group = made.ContentSequence[-1].ContentSequence[0].ContentSequence
    number = next(item for item in group if item.ValueType == "NUM")
    number.MeasuredValueSequence[0].NumericValue = "NaN"
    with pytest.raises(ReportError, match="finite"):
        read_report(made)


@pytest.mark.parametrize(
    ("tags", "sex", "zone"),
    [
        ({"PatientSex": "MISSING", "TimezoneOffsetFromUTC": "+01001"}, "", None),
        ({"PatientSex": "FEHLT", "TimezoneOffsetFromUTC": "+010000"}, "", None),
        ({"PatientSex": "f ", "TimezoneOffsetFromUTC": "+0100 "}, "F", "+0100"),
        ({"PatientSex": "O", "TimezoneOffsetFromUTC": "-0000"}, "O", None),
    ],
)
def test_a_value_of_few_choices_is_taken_whole_or_not_at_all(tags, sex, zone):
    made, _ = report("CT", tags, label_set=SMALL)
    assert (made.PatientSex, made.get("TimezoneOffsetFromUTC")) == (sex, zone)


def measurement_groups(dataset):
    """The groups of a report, as lists of their NUM items."""
    (measurements,) = (i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [[i for i in group.ContentSequence if i.ValueType == "NUM"] for group in measurements.ContentSequence]


def test_scores_come_highest_first_in_the_same_order_in_every_group():
    made, scores = report("CT", label_set=SMALL, key_frames=3, series=2)
    best = sorted({s.label for s in scores}, key=lambda label: -max(s.value for s in scores if s.label == label))
    for group in measurement_groups(made):
        assert [str(n.ConceptNameCodeSequence[0].CodeMeaning) for n in group] == [f"Score for {b}" for b in best]


def test_only_scores_of_the_groups_first_frame_are_given_as_a_region():
    """A viewer draws all values of a group on that frame; those of other frames refer to them as images."""
    labels = LabelSet("t", "1", (Label("A", ("x",), ("y",)), Label("B", ("x",), ("y",))), ScoreKind.ZERO_SHOT_PAIR)
    made, scores = report("CT", label_set=labels, key_frames=0)
    (group,) = measurement_groups(made)
    kinds = [{c.ValueType for c in n.ContentSequence} & {"SCOORD", "IMAGE"} for n in group]
    assert kinds == [{"SCOORD"}, {"SCOORD"}]
    region = next(c for c in group[0].ContentSequence if c.ValueType == "SCOORD")
    assert list(region.GraphicData) == [0, 0, 400, 0, 400, 512, 0, 512, 0, 0]  # columns by rows, closed
    assert {s.frame for s in read_report(made).scores} <= {s.frame for s in scores}
    minimal, _ = report("CT", full=False, label_set=labels, key_frames=0)
    (group,) = measurement_groups(minimal)
    assert all("SCOORD" not in {c.ValueType for c in n.ContentSequence} for n in group)


def test_parameters_stand_once_and_how_scores_were_aggregated_is_read_back():
    made, _ = report("CT", label_set=SMALL, derivation=Derivation.MEAN, key_frames=1)
    texts = [
        str(i.TextValue).partition("=")[0]
        for group in made.ContentSequence[-1].ContentSequence
        for i in group.ContentSequence
        if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeValue == "111002"
    ]
    assert texts.count("weights") == 1
    assert texts.count("fingerprint") == 2
    assert {s.derivation for s in read_report(made).scores} == {None, Derivation.MEAN}


def test_a_report_of_the_first_form_is_read():
    """With IMAGE in place of a region, Derivation below each score and unit 1."""
    content = read_report(pydicom.dcmread(Path(__file__).parent / "first_form.dcm"))
    assert len(content.scores) == 6
    assert {s.derivation for s in content.scores} == {None, Derivation.MAX}
    assert content.parameters["encoder"] == "phantom"


@pytest.mark.system
def test_dcmtk_puts_a_name_beside_every_number(tmp_path):
    made, _ = report("CT", label_set=SMALL, key_frames=2)
    (tmp_path / "r.dcm").write_bytes(encode(made))
    page = subprocess.run([need("dsr2html"), tmp_path / "r.dcm"], capture_output=True, text=True, check=True).stdout
    numbers = sum(len(group) for group in measurement_groups(made))
    assert len(re.findall(r"<b>Score for [^<]*:</b>\s*</td>|<b>Score for [^<]*:</b>", page)) == numbers


def tracking(dataset):
    """Tracking Identifier and UID of each group."""
    (measurements,) = (i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    for group in measurements.ContentSequence:
        named_items = {
            i.ConceptNameCodeSequence[0].CodeValue: i for i in group.ContentSequence if i.ValueType != "IMAGE"
        }
        yield str(named_items["112039"].TextValue), str(named_items["112040"].UID)


def test_groups_are_called_what_a_person_sees_and_stay_the_same_over_revisions():
    first, second = (report("CT", label_set=SMALL, number=number, key_frames=2)[0] for number in (1, 2))
    assert [name for name, _ in tracking(first)] == [
        "CT test (series 3)",
        "CT test (series 3), image 4",
        "CT test (series 3), image 3",
    ]
    assert list(tracking(first)) == list(tracking(second))
    assert len({uid for _, uid in tracking(first)}) == 3
    assert first.SOPInstanceUID != second.SOPInstanceUID
    frames = [name for name, _ in tracking(report("ECT", label_set=SMALL, key_frames=1)[0])]
    assert frames[1] == "CT test (series 3), image 2, frame 1"
    bare = [name for name, _ in tracking(report("MR", full=False, label_set=SMALL, key_frames=1)[0])]
    assert bare == ["MR test", "MR test, image without a number"]


@pytest.mark.system
def test_two_revisions_agree_on_patient_study_and_series(tmp_path):
    """dcentvfy compares the attributes of the same entity over instances."""
    for number in (1, 2):
        made, _ = report("CT", label_set=SMALL, number=number, key_frames=1)
        (tmp_path / f"{number}.dcm").write_bytes(encode(made))
    command = [need("dcentvfy"), tmp_path / "1.dcm", tmp_path / "2.dcm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr).strip() == ""


def test_a_group_whose_frames_are_out_of_domain_is_marked(tmp_path):
    out, inside = FrameDomain(Domain.OUT, 3.0), FrameDomain(Domain.IN, 0.4)
    frames = [FrameKey(f"2.25.{2000 + number}") for number in range(4)]

    def marks(domains):
        made, _ = report("CT", label_set=SMALL, key_frames=2, domains=domains)
        return [(s.derivation is not None, s.domain) for s in read_report(made).scores if s.label == "Lung Lesion"]

    assert marks({}) == marks(dict.fromkeys(frames, inside)) == [(True, ""), (False, ""), (False, "")]
    assert marks(dict.fromkeys(frames, out)) == [
        (True, "out_of_domain"),
        (False, "out_of_domain"),
        (False, "out_of_domain"),
    ]
    assert marks({**dict.fromkeys(frames, inside), frames[3]: out})[1:] == [(False, "out_of_domain"), (False, "")]
    made, _ = report("CT", label_set=SMALL, key_frames=1, domains=dict.fromkeys(frames, out))
    assert "OUT OF DOMAIN" in report_text(read_report(made))
    assert "out of domain" in report_html(read_report(made))
    items = [item for group in made.ContentSequence[-1].ContentSequence for item in group.ContentSequence]
    found = [i for i in items if i.ValueType == "CODE" and i.ConceptNameCodeSequence[0].CodeValue == "MODEL-DOMAIN"]
    assert [i.ConceptCodeSequence[0].CodeValue for i in found] == ["OUT-OF-DOMAIN"] * 2
    assert {i.RelationshipType for i in found} == {"CONTAINS"}
