"""Companions: valid, the same each time, and they say what the report says."""

import io
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Embedding, Frame, FrameKey, Label, LabelSet, Revision
from dicom_pipeline.reporting import COMPANIONS, key_frame, make_companions, read_report, with_companions
from dicom_pipeline.reporting import read_embeddings_object as read_back
from dicom_pipeline.reporting.codes import score_code
from dicom_pipeline.reporting.companions import _caption
from dicom_pipeline.reporting.companions.lettering import label_text, writable
from dicom_pipeline.reporting.companions.orientation import Edges, edges_of
from dicom_pipeline.reporting.companions.page import pdf_bytes
from dicom_pipeline.reporting.companions.picture import Caption, cut_to_width, key_image_pixels
from tests.peers.orthanc import Orthanc
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of
from tests.reporting.made import PROVENANCE, SERIES, SMALL, header
from tests.reporting.made import report as made_report

BLANK = np.zeros((448, 448, 3), np.uint8)
MOMENT = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def companions(kind="CT", tags=None, *, full=True, wanted=COMPANIONS):
    sr, scores = made_report(kind, tags, full=full)
    headers = {str(h.SOPInstanceUID): h for h in (header(kind, i, tags, full=full) for i in range(4))}
    first = next(iter(headers))
    frame = FrameKey(first, 2 if kind == "ECT" else 1)
    pixels = np.tile(np.arange(448, dtype=np.uint16)[:, None, None] // 2, (1, 448, 3)).astype(np.uint8)
    rng = np.random.default_rng(0)
    vectors = [
        Embedding(Frame(FrameKey(uid), None, SERIES), rng.normal(size=1152).astype(np.float32)) for uid in headers
    ]
    shown = [key_frame(Frame(frame, None, SERIES, 42.5), "CT test (series 3)", pixels, None, scores, headers)]
    revision = Revision(str(sr.StudyInstanceUID), 1, MOMENT, {})
    return make_companions(wanted, sr, revision, headers, shown, vectors, PROVENANCE), vectors, sr


@pytest.mark.system
@pytest.mark.parametrize(
    ("kind", "tags", "full"),
    [
        ("CT", None, True),
        ("MR", None, False),
        ("CR", {"PatientName": "Müller^Jürgen", "SpecificCharacterSet": "ISO_IR 100"}, True),
        ("MG", {"PatientBirthDate": "yesterday", "PatientSex": "X", "StudyDescription": "y" * 90}, True),
        ("ECT", {"TimezoneOffsetFromUTC": "+0545"}, True),
    ],
)
def test_every_companion_is_valid(kind, tags, full, tmp_path):
    made, _, _ = companions(kind, tags, full=full)
    assert len(made) == 4
    for dataset in made:
        path = tmp_path / f"{dataset.Modality}{dataset.SeriesNumber}.dcm"
        path.write_bytes(encode(dataset))
        assert dciodvfy_errors(path) == []
        assert is_own_object(pydicom.dcmread(path))
        if dataset.Modality == "KO":
            assert dsrdump_errors(path) == []


@pytest.mark.system
def test_pixelmed_takes_the_two_that_it_knows(tmp_path):
    """Its SR validator knows key objects, the other one Raw Data; it knows neither Secondary Capture nor PDF."""
    trees, raws = [], []
    for kind, full in (("CT", True), ("MR", False), ("ECT", True)):
        selection, raw = companions(kind, full=full, wanted=["key-objects", "embeddings"])[0]
        (item,) = [i for i in selection.ContentSequence if i.ValueType == "IMAGE"]
        reference = item.ReferencedSOPSequence[0]
        assert reference.get("ReferencedFrameNumber") == (2 if kind == "ECT" else None)
        trees.append(tmp_path / f"{kind}.ko")
        raws.append(tmp_path / f"{kind}.raw")
        trees[-1].write_bytes(encode(selection))
        raws[-1].write_bytes(encode(raw))
    assert pixelmed_errors_of(trees) == {path: [] for path in trees}
    del raw.CreatorVersionUID
    broken = tmp_path / "broken.raw"
    broken.write_bytes(encode(raw))
    found = pixelmed_errors_of([*raws, broken], sr=False)
    assert found.pop(broken) != []
    assert found == {path: [] for path in raws}


@pytest.mark.system
@pytest.mark.parametrize(
    ("wanted", "keyword"),
    [
        ("key-image", "PhotometricInterpretation"),
        ("key-objects", "ContentDate"),
        ("embeddings", "InstanceNumber"),
        ("pdf", "DocumentTitle"),
    ],
)
def test_dciodvfy_would_notice_in_each_companion(wanted, keyword, tmp_path):
    ((made,), _, _) = companions(wanted=[wanted])
    delattr(made, keyword)
    path = tmp_path / "broken.dcm"
    path.write_bytes(encode(made))
    assert dciodvfy_errors(path)


def test_labels_are_written_in_their_letters_or_bear_the_code_of_their_score():
    for name in ("Ödem, łuk", "Пневмония", "Πνευμονία", "Թոքաբորբ", "პნევმონია", "O\u0308dem", "a ≥ b"):
        assert label_text(name) == unicodedata.normalize("NFC", name)
    assert label_text("肺炎") == f"?? ({score_code('肺炎')})"
    assert label_text("الرئة") == f"????? ({score_code('الرئة')})"
    assert writable("tab\there\x1b[0m") == "tab?here?[0m"
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for letter in "xЖ":
        assert cut_to_width(draw, letter * 200, 30, 540).endswith("…")
    assert cut_to_width(draw, "Pneumothorax", 30, 540) == "Pneumothorax"


def test_a_code_that_stands_for_a_label_is_the_one_in_the_report():
    name = "肺炎 left"
    dataset, _ = made_report("CR", label_set=LabelSet("t", "1", (Label(name, ("x",), ("y",)),), SMALL.kind))
    codes = {str(e.value) for e in dataset.iterall() if e.keyword == "CodeValue"}
    assert score_code(name) in codes


def test_other_letters_are_drawn_and_not_boxes():
    """Each letter has a form of its own; what a font lacks would be one and the same box."""
    forms = set()
    for letter in "ЖЩЮЯБДФ":
        forms.add(key_image_pixels(BLANK, None, Caption("CT", (), [(letter, 0.5)], ())).tobytes())
    assert len(forms) == 7


def test_a_pdf_embeds_the_letters_that_readers_lack_and_is_the_same_each_time():
    pictures = [key_image_pixels(BLANK, BLANK, Caption("CT", (), [("Пневмония", 0.5)], ()))] * 5
    plain = pdf_bytes("Ödem 0.500", [])
    assert b"DejaVu" not in plain.replace(b"/DejaVuSansMono", b"")
    made = pdf_bytes("Пневмония 0.500", pictures)
    assert b"/FontFile2" in made
    assert made == pdf_bytes("Пневмония 0.500", pictures)


def test_the_same_bytes_each_time_and_a_uid_for_each():
    one, two = companions()[0], companions()[0]
    assert [encode(d) for d in one] == [encode(d) for d in two]
    assert len({d.SOPInstanceUID for d in one}) == 4
    assert len({d.SeriesInstanceUID for d in one}) == 4


def test_embeddings_come_back_exactly_even_as_unknown_bytes():
    ((raw,), vectors, _) = companions(wanted=["embeddings"])
    words, array = read_back(raw)
    np.testing.assert_array_equal(array, np.stack([v.vector for v in vectors]))
    assert [f["sop_instance_uid"] for f in words["frames"]] == [v.frame.key.sop_instance_uid for v in vectors]
    implicit = io.BytesIO()
    raw.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    raw.save_as(implicit, implicit_vr=True, little_endian=True)
    again = pydicom.dcmread(io.BytesIO(implicit.getvalue()), force=True)
    np.testing.assert_array_equal(read_back(again)[1], array)
    block = raw.private_block(0x0099, "DICOM_PIPELINE")
    block[0x02].value = b"\0" * len(block[0x02].value)
    with pytest.raises(ValueError, match="sha256"):
        read_back(raw)


def test_the_key_image_carries_the_statement_where_it_cannot_be_missed():
    made = key_image_pixels(BLANK, None, Caption("CT Chest", (), [("Pneumothorax", 0.91)], ["Trained on drawings."]))
    banner = made[:64]
    red = (banner[..., 0] > 200) & (banner[..., 1] < 150)
    assert red.sum() > 2000
    small = np.asarray(Image.fromarray(made).resize((512, 512 * made.shape[0] // made.shape[1])))
    rows = np.flatnonzero((small[: 64 * 512 // 896, :, 0] > 150).any(axis=1))
    assert rows[-1] - rows[0] >= 12  # letters of the banner stay at least 12 px high at 512 px
    blue = (made == (64, 132, 214)).all(axis=2).sum(axis=1)
    assert blue.max() == pytest.approx(0.91 * 200, abs=4)


def test_the_key_image_shows_both_pictures_and_the_edges_in_the_image_s_own_directions():
    grey, seen = np.full((448, 448, 3), 90, np.uint8), np.full((448, 448, 3), (200, 20, 150), np.uint8)
    plain = Caption("CT Chest (series 3), image 12", ["Slice position 42.5 mm"], [], [])
    alone, both = key_image_pixels(seen, None, plain), key_image_pixels(seen, grey, plain)
    assert (both == 90).all(axis=2).sum() == (both == (200, 20, 150)).all(axis=2).sum() == 416 * 416
    assert (alone == (200, 20, 150)).all(axis=2).sum() == 672 * 672
    marked = key_image_pixels(seen, None, replace(plain, edges=Edges("R", "L", "A", "P")))
    turned = key_image_pixels(seen, None, replace(plain, edges=Edges("L", "R", "A", "P")))
    assert marked.tobytes() not in (alone.tobytes(), turned.tobytes())


@pytest.mark.parametrize(
    ("tags", "edges"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, ("R", "L", "A", "P")),
        ({"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}, ("L", "R", "P", "A")),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, ("A", "P", "H", "F")),
        ({"ImageOrientationPatient": [0.8, 0.6, 0, 0, 0, -1]}, ("RA", "LP", "H", "F")),
        ({"PatientOrientation": ["L", "F"]}, ("R", "L", "H", "F")),
        ({"PatientOrientation": ["sideways", "F"]}, None),
        ({"ImageOrientationPatient": [1, 0, 0]}, None),
        ({}, None),
    ],
)
def test_edges_are_those_of_the_patient(tags, edges):
    assert edges_of(header("MR", 0, tags), 1) == edges


def test_edges_of_a_multi_frame_image_are_those_of_the_frame():
    from pydicom import Dataset

    made, groups = header("ECT", 0), []
    for cosines in ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]):
        plane, group = Dataset(), Dataset()
        plane.ImageOrientationPatient = cosines
        group.PlaneOrientationSequence = [plane]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups
    assert edges_of(made, 2) == ("A", "P", "H", "F")


def test_scores_on_a_key_image_are_its_own_and_others_name_their_image():
    """The series' Pneumothorax comes from image 4, so image 1 must not bear that number as its own."""
    sr, scores = made_report("CT", label_set=SMALL)
    headers = {str(h.SOPInstanceUID): h for h in (header("CT", i) for i in range(4))}
    first = Frame(FrameKey("2.25.2000"), None, SERIES, 42.5)
    shown = key_frame(first, "CT test (series 3)", BLANK, None, scores, headers)
    said = _caption(shown, Revision("2.25.1001", 1, MOMENT, {}), PROVENANCE)
    own = {s.label: s.value for s in scores if s.frame == first.key and s.derivation is None}
    assert dict(said.scores) == own
    assert said.title == "CT test (series 3), image 1"
    assert list(said.facts) == ["study without a description, 2026-01-02", "Slice position 42.5 mm"]
    assert "In this series Pneumothorax is highest in image 4: 0.04" in said.notes
    assert any("Model phantom, weights abababababab; dicom_pipeline 0.1.0" in note for note in said.notes)
    assert PROVENANCE.notice in said.notes
    assert sr.StudyInstanceUID[-12:] not in " ".join([said.title, *said.facts, *said.notes])


def test_the_pdf_says_what_the_report_says():
    ((document,), _, _) = companions(wanted=["pdf"])
    body = bytes(document.EncapsulatedDocument)[: document.EncapsulatedDocumentLength]
    assert body.startswith(b"%PDF")
    for words in (
        b"NOT FOR DIAGNOSIS",
        b"Research use only",
        b"Pneumothorax",
        b"Trained on drawings only",
        b"fingerprint",
    ):
        assert words in body


def test_the_pdf_shows_the_key_images_as_they_are_sent():
    (image, document), _, _ = companions(wanted=["pdf", "key-image"])
    body = bytes(document.EncapsulatedDocument)
    assert f"/Width {image.Columns}".encode() in body
    assert f"/Height {image.Rows}".encode() in body


@pytest.mark.system
def test_the_report_lists_what_was_made_beside_it(tmp_path):
    made, _, sr = companions()
    listed = with_companions(sr, made)
    evidence = {
        (str(r.ReferencedSOPInstanceUID), str(r.ReferencedSOPClassUID))
        for series in listed.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for r in series.ReferencedSOPSequence
    }
    assert {(str(m.SOPInstanceUID), str(m.SOPClassUID)) for m in made} < evidence
    assert len(evidence) == len(made) + 4
    assert listed.SOPInstanceUID != sr.SOPInstanceUID
    assert encode(listed) == encode(with_companions(sr, made))
    assert encode(with_companions(sr, ())) == encode(sr)
    assert read_report(listed).scores == read_report(sr).scores
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(listed))
    assert dciodvfy_errors(path) + dsrdump_errors(path) == []
    assert pixelmed_errors_of([path]) == {path: []}


@pytest.mark.system
def test_a_pipeline_makes_them_and_orthanc_keeps_them(tmp_path, sample_data):
    settings = Settings(report=ReportSection(companions=COMPANIONS))
    result = Pipeline.from_config(settings).process_study([sample_data / "studies" / "cr-chest-effusion"])
    assert [d.Modality for d in result.companions] == ["OT", "KO", "OT", "DOC"]
    evidence = {str(e.value) for e in result.report.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert {str(made.SOPInstanceUID) for made in result.companions} <= evidence
    server = Orthanc(tmp_path / "o").start()
    try:
        for dataset in result.companions:
            server.client.upload(encode(dataset))
        ids = server.client.instances.get_all_ids()
        assert len(ids) == 4
        back = [pydicom.dcmread(io.BytesIO(server.client.instances.get_file(i))) for i in ids]
    finally:
        server.stop()
    (raw,) = [d for d in back if d.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66"]
    np.testing.assert_array_equal(read_back(raw)[1][0], result.embeddings[0].vector)
    assert result.report is not None


def test_nothing_that_is_written_on_a_key_image_runs_over_its_edge():
    said = Caption(
        "MR a long description " * 6, ["fact " * 40], [("A label " * 20, 0.5)], ["Trained on drawings. " * 9]
    )
    image = key_image_pixels(BLANK, None, said)
    assert image.shape[1] == 896
    edge = image[70:, -12:]  # below the banner, which is centred
    assert (edge == edge[0, -1]).all()
