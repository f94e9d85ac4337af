"""Whatever a header says: a valid report with valid companions, or a clear refusal; never another error, never a warning."""

import datetime
import io
import itertools
import os
import random
from collections import Counter

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import (
    Derivation,
    Embedding,
    Frame,
    FrameKey,
    InstanceError,
    Plan,
    Revision,
    Score,
    SeriesPlan,
)
from dicom_pipeline.errors import ReportError
from dicom_pipeline.planning import read_header
from dicom_pipeline.reporting import (
    COMPANIONS,
    build_report,
    key_frame,
    make_companions,
    read_report,
    report_html,
    report_text,
)
from tests.intake.test_mutated_files import mutated
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of
from tests.reporting.damaged import damaged, damages, plain_image, tag_of, write
from tests.reporting.made import PROVENANCE, SMALL

NOON = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.UTC)
HOW = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
KINDS = st.sampled_from(("CT", "MR", "CR", "DX", "MG", "ECT"))


def objects_of(path, kind):
    """The report on one image file and all companions, without running a model."""
    header = read_header(path)
    frame = Frame(FrameKey(header.sop_instance_uid, 2 if kind == "ECT" else 1), path, header.series_instance_uid)
    scores = [
        Score(label.name, 0.5, SMALL.kind, header.series_instance_uid, frame.key, derivation)
        for label in SMALL.labels
        for derivation in (None, Derivation.MAX)
    ]
    series = SeriesPlan(header.series_instance_uid, header.modality, "", "ct-medgemma-report", "all", (frame,))
    plan, headers = Plan(header.study_instance_uid, (series,)), {header.sop_instance_uid: header.dataset}
    revision = Revision(header.study_instance_uid, 1, NOON, {header.sop_instance_uid: "00"})
    report = build_report(revision, plan, headers, scores, SMALL, PROVENANCE)
    shown = [key_frame(frame, "series", np.zeros((448, 448, 3), np.uint8), None, scores, headers)]
    vectors = [Embedding(frame, np.zeros(4, np.float32))]
    return [report, *make_companions(COMPANIONS, report, revision, headers, shown, vectors, PROVENANCE)]


def check(folder, kind, full, damage):
    path = write(folder, "image.dcm", damaged(plain_image(kind, 1, full=full), damage))
    try:
        made = objects_of(path, kind)
    except (InstanceError, ReportError):
        return None  # what a refusal says is tested below
    for number, dataset in enumerate(made):
        file = folder / f"{number}.dcm"
        file.write_bytes(encode(dataset))
        tree = dataset.Modality in ("SR", "KO")
        assert dciodvfy_errors(file) + (dsrdump_errors(file) if tree else []) == []
    assert len(read_report(made[0]).scores) == 6
    return folder / "0.dcm"


@pytest.mark.system
@settings(HOW, max_examples=80)
@given(KINDS, st.booleans(), damages())
def test_a_valid_report_or_a_refusal(tmp_path_factory, kind, full, damage):
    check(tmp_path_factory.mktemp("damaged"), kind, full, damage)


@pytest.mark.long
@pytest.mark.system
@pytest.mark.timeout(3600)
@settings(HOW, max_examples=int(os.environ.get("DICOM_PIPELINE_EXAMPLES", "3000")))
@given(KINDS, st.booleans(), damages())
def test_a_valid_report_or_a_refusal_for_long(tmp_path_factory, kind, full, damage):
    check(tmp_path_factory.mktemp("damaged"), kind, full, damage)


@pytest.mark.long
@pytest.mark.system
@pytest.mark.timeout(3600)
@settings(HOW, max_examples=4)
@given(st.lists(st.tuples(KINDS, st.booleans(), damages()), min_size=40, max_size=40))
def test_pixelmed_agrees(tmp_path_factory, cases):
    folders = [tmp_path_factory.mktemp("pixelmed") for _ in cases]
    made = [check(folder, *case) for folder, case in zip(folders, cases, strict=True)]
    assert {k: v for k, v in pixelmed_errors_of([m for m in made if m is not None]).items() if v} == {}


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_config(Settings(report=ReportSection(companions=COMPANIONS)))


@pytest.mark.system
@settings(HOW, max_examples=4)
@given(st.lists(st.tuples(st.sampled_from(("CT", "CR", "MR")), damages()), min_size=12, max_size=12))
def test_the_pipeline_takes_damaged_files(tmp_path_factory, pipeline, cases):
    folder, numbers = tmp_path_factory.mktemp("files"), itertools.count()
    for kind, damage in cases:
        number = next(numbers)
        write(folder, f"{number}.dcm", damaged(plain_image(kind, number), damage))
    for result in pipeline.process_paths([folder]):
        assert result.report is not None or result.problem or not result.frame_scores
        for dataset in () if result.report is None else (result.report, *result.companions):
            path = folder / "made"
            path.write_bytes(encode(dataset))
            assert dciodvfy_errors(path) == []
            path.unlink()


REFUSED = {
    "leading-zero": ("StudyInstanceUID", ("UI", b"1.02.3"), "StudyInstanceUID"),
    "zeros": ("StudyInstanceUID", ("UI", b"0.0"), "StudyInstanceUID"),
    "root": ("SeriesInstanceUID", ("UI", b"7.1"), "SeriesInstanceUID"),
    "no-class": ("SOPClassUID", None, "SOPClassUID"),
    "private-class": ("SOPClassUID", ("UI", b"1.3.12.2.1107.5.9.1"), "does not list as an image"),
}


@pytest.mark.parametrize(("keyword", "value", "words"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_says_what_is_wrong(tmp_path, keyword, value, words):
    path = write(tmp_path, "image.dcm", damaged(plain_image("CT", 1), {tag_of(keyword): value}))
    with pytest.raises(ReportError, match=words):
        objects_of(path, "CT")


IDENTIFIERS = {
    "as it is": (b"ID-0001 ", "ID-0001"),
    "ended with nulls": (b"ID-0001\0\0", "ID-0001"),
    "too long": (b"9" * 65, ""),
    "several": (b"ID1\\ID2", ""),
    "with a control character": (b"ID\x071", ""),
    "undecodable": (b"ID\xff1", ""),
}


@pytest.mark.parametrize(("written", "kept"), IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_an_identifier_is_kept_whole_or_left_out(tmp_path, written, kept):
    """A part of a Patient ID could be another patient's."""
    said = {tag_of("PatientID"): ("LO", written), tag_of("SpecificCharacterSet"): ("CS", b"ISO_IR 192")}
    path = write(tmp_path, "image.dcm", damaged(plain_image("CT", 1), said))
    assert {str(made.PatientID) for made in objects_of(path, "CT")} == {kept}


@pytest.mark.system
@pytest.mark.parametrize("said", [b"1", b"0", b"3", b"-1", b"99999999999", b"1\\2", b"two"])
def test_number_of_frames_of_an_image_that_holds_one(tmp_path, said):
    """CT, MR and CR images often say Number of Frames 1; a reference to such a class may not name a frame."""
    check(tmp_path, "CT", True, {tag_of("NumberOfFrames"): ("IS", said)})
    assert (tmp_path / "0.dcm").exists()


def test_a_long_name_loses_its_last_groups_first(tmp_path):
    name = f"{'Long' * 8}^Name={'山' * 10}={'や' * 10}".encode()
    said = {tag_of("PatientName"): ("PN", name), tag_of("SpecificCharacterSet"): ("CS", b"ISO_IR 192")}
    path = write(tmp_path, "image.dcm", damaged(plain_image("CT", 1), said))
    assert str(objects_of(path, "CT")[0].PatientName) == f"{'Long' * 8}^Name"


def test_placeholder_times_are_no_time_of_a_revision(tmp_path):
    from dicom_pipeline.planning import study_inputs

    said = {tag_of("ContentDate"): ("DA", b"99991231"), tag_of("ContentTime"): ("TM", b"000000")}
    write(tmp_path, "image.dcm", damaged(plain_image("CT", 1), said))
    (study,) = study_inputs([tmp_path])
    assert study.revision.created_at.year == 2026


@pytest.mark.filterwarnings("ignore")  # of pydicom, as `show` does
def test_a_report_with_wrong_bytes_is_read_or_refused(tmp_path):
    """What `show` is given may have been cut or damaged on its way: a sentence, never a traceback."""
    body = encode(objects_of(write(tmp_path, "image.dcm", plain_image("CT", 1)), "CT")[0])
    rng, read = random.Random(7), Counter()
    for _ in range(400):
        try:
            report = read_report(pydicom.dcmread(io.BytesIO(body[:132] + mutated(rng, body[132:], body[132:]))))
        except (ReportError, *UNPARSABLE) as error:
            read[isinstance(error, ReportError)] += 1
            continue
        assert report_text(report)
        assert report_html(report)
        read["whole"] += 1
    assert min(read[True], read["whole"]) > 20, read
