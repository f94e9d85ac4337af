"""Reports: valid over a matrix of sources, the same bytes in any process, and read back as they were written."""

import io
import subprocess
import sys
from dataclasses import replace

import pydicom
import pytest

from dicom_pipeline.domain import LabelSet
from dicom_pipeline.errors import ReportError
from dicom_pipeline.reporting import SR_CLASSES, encode, is_own_object, read_report, report_text
from dicom_pipeline.scoring import load_label_set
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors
from tests.reporting.made import PROVENANCE, STUDY, report

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


@pytest.mark.system
def test_a_report_with_thresholds_passes_pixelmed(tmp_path):
    labels = load_label_set("cxr-13")
    labels = LabelSet(
        "t",
        "1",
        tuple(replace(x, threshold=0.2) if i % 3 == 0 else x for i, x in enumerate(labels.labels)),
        labels.kind,
    )
    assert pixelmed_errors(written(report("CR", label_set=labels)[0], tmp_path)) == []


@pytest.mark.system
def test_each_validator_would_notice(tmp_path):
    made, _ = report("CT")
    del made.CompletionFlag
    assert dciodvfy_errors(written(made, tmp_path, "flag.dcm"))
    made, _ = report("CT")
    del made.ContentSequence[0].RelationshipType
    assert dsrdump_errors(written(made, tmp_path, "tree.dcm"))


@pytest.mark.system
def test_pixelmed_would_notice_a_wrong_relationship(tmp_path):
    made, _ = report("CR", key_frames=0)
    last = made.ContentSequence[-1]
    last.ContentSequence[0].RelationshipType = "HAS PROPERTIES"
    assert pixelmed_errors(written(made, tmp_path))


def test_the_same_report_has_the_same_bytes_in_another_process(tmp_path):
    here = encode(report("CT")[0])
    code = (
        "import sys; from tests.reporting.made import report; from dicom_pipeline.reporting import encode;"
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
