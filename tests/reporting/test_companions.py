"""Companions: valid, the same each time, and they say what the report says."""

import io
import unicodedata

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Embedding, Frame, FrameKey, Label, LabelSet
from dicom_pipeline.reporting import COMPANIONS, key_frame, make_companions
from dicom_pipeline.reporting import read_embeddings_object as read_back
from dicom_pipeline.reporting.codes import score_code
from dicom_pipeline.reporting.companions.lettering import label_text, writable
from dicom_pipeline.reporting.companions.page import _cut, key_image_pixels, pdf_bytes
from tests.peers.orthanc import Orthanc
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of
from tests.reporting.made import PROVENANCE, SERIES, SMALL, header
from tests.reporting.made import report as made_report


def companions(kind="CT", tags=None, *, full=True, wanted=COMPANIONS):
    from datetime import UTC, datetime

    from dicom_pipeline.domain import Revision

    sr, scores = made_report(kind, tags, full=full)
    headers = {str(h.SOPInstanceUID): h for h in (header(kind, i, tags, full=full) for i in range(4))}
    first = next(iter(headers))
    frame = FrameKey(first, 2 if kind == "ECT" else 1)
    pixels = np.tile(np.arange(448, dtype=np.uint16)[:, None, None] // 2, (1, 448, 3)).astype(np.uint8)
    rng = np.random.default_rng(0)
    vectors = [
        Embedding(Frame(FrameKey(uid), None, SERIES), rng.normal(size=1152).astype(np.float32)) for uid in headers
    ]
    shown = [key_frame(frame, pixels, scores[:3], headers[first])]
    revision = Revision(str(sr.StudyInstanceUID), 1, datetime(2026, 1, 2, 12, 0, tzinfo=UTC), {})
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
        assert _cut(draw, letter * 200, 30, 540).endswith("…")
    assert _cut(draw, "Pneumothorax", 30, 540) == "Pneumothorax"


def test_a_code_that_stands_for_a_label_is_the_one_in_the_report():
    name = "肺炎 left"
    dataset, _ = made_report("CR", label_set=LabelSet("t", "1", (Label(name, ("x",), ("y",)),), SMALL.kind))
    codes = {str(e.value) for e in dataset.iterall() if e.keyword == "CodeValue"}
    assert score_code(name) in codes


def test_other_letters_are_drawn_and_not_boxes():
    """Each letter has a form of its own; what a font lacks would be one and the same box."""
    forms = set()
    for letter in "ЖЩЮЯБДФ":
        forms.add(key_image_pixels(np.zeros((448, 448, 3), np.uint8), [(letter, 0.5)], "Study", "").tobytes())
    assert len(forms) == 7


def test_a_pdf_embeds_the_letters_that_readers_lack_and_is_the_same_each_time():
    pictures = [(np.zeros((448, 448, 3), np.uint8), [("Пневмония", 0.5)])]
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
    blank = np.zeros((448, 448, 3), np.uint8)
    with_text = key_image_pixels(blank, [("Pneumothorax", 0.91)], "Study", "Trained on drawings.")
    banner = with_text[:64]
    red = (banner[..., 0] > 200) & (banner[..., 1] < 150)
    assert red.sum() > 2000
    small = np.asarray(Image.fromarray(with_text).resize((512, 512 * with_text.shape[0] // with_text.shape[1])))
    rows = np.flatnonzero((small[: 64 * 512 // 896, :, 0] > 150).any(axis=1))
    assert rows[-1] - rows[0] >= 12  # letters of the banner stay at least 12 px high at 512 px
    bar = with_text[64 + 672 + 24 + 18, 580:780, 2] > 200
    assert bar.sum() == pytest.approx(0.91 * 200, abs=4)


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


@pytest.mark.system
def test_a_pipeline_makes_them_and_orthanc_keeps_them(tmp_path, sample_data):
    settings = Settings(report=ReportSection(companions=COMPANIONS))
    result = Pipeline.from_config(settings).process_study([sample_data / "studies" / "cr-chest-effusion"])
    assert [d.Modality for d in result.companions] == ["OT", "KO", "OT", "DOC"]
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
    blank = np.zeros((448, 448, 3), np.uint8)
    image = key_image_pixels(
        blank, [("A label " * 20, 0.5)], "Study …306831207600, revision 12", "Trained on drawings. " * 9
    )
    edge = image[70:, -12:]  # below the banner, which is centred
    assert (edge == edge[0, -1]).all()
