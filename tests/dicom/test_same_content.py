"""Real files written anew in every way that keeps their content, and with one thing changed in them."""

import copy
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_pipeline.dicom.sameness.content import same_content
from tests.peers.programs import need

KEEPS = {
    "implicit": ("dcmconv", "+ti"),
    "explicit, undefined lengths, no group lengths": ("dcmconv", "+te", "-e", "-g"),
    "explicit, defined lengths, group lengths, padding": ("dcmconv", "+te", "+e", "+g", "+p", "512", "64"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "RLE": ("dcmcrle",),
    "JPEG lossless": ("dcmcjpeg", "+e1"),
    "JPEG lossless, any predictor": ("dcmcjpeg", "+el", "+sv", "6"),
    "JPEG-LS": ("dcmcjpls", "+el"),
}
LOSES = {
    "JPEG": ("dcmcjpeg", "+eb"),
    "JPEG, 12 bit": ("dcmcjpeg", "+ee", "+bt"),
    "JPEG-LS": ("dcmcjpls", "+en", "+md", "3"),
}
PLUGINS = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
BUNDLED = ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm")


def native_images(corpus: Path) -> list[Path]:
    """One uncompressed image of each kind that the corpus and pydicom hold, colour, signed and multi-frame ones too."""
    folders = [
        sorted(p for p in folder.rglob("*") if p.is_file())[:1] for folder in corpus.iterdir() if folder.is_dir()
    ]
    names = ("CT_small", "MR_small", "MR_small_implicit", "examples_rgb_color", "examples_palette", "SC_rgb_small_odd")
    bundled = [Path(get_testdata_file(f"{name}.dcm")) for name in (*names, "examples_overlay", "rtdose")]
    paths = [path for found in folders for path in found] + bundled
    return [path for path in paths if not syntax_of(path).is_encapsulated]


def syntax_of(path: Path):
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


def run(tool: tuple[str, ...], source: Path, target: Path) -> bool:
    """Whether a program of dcmtk's wrote a file: none takes every image."""
    target.unlink(missing_ok=True)
    result = subprocess.run([need(tool[0]), *tool[1:], source, target], capture_output=True, check=False)
    return result.returncode == 0 and target.exists()


def save(dataset: pydicom.Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def compressed(dataset: pydicom.Dataset, syntax) -> pydicom.Dataset:
    """A copy in another syntax; a colour image in HTJ2K with the reversible colour transform."""
    result = copy.deepcopy(dataset)
    if syntax in NATIVE:
        result.file_meta.TransferSyntaxUID = syntax
    elif syntax == HTJ2KLossless:
        result.PixelData = encapsulate([imagecodecs.htj2k_encode(dataset.pixel_array, reversible=True)])
        result["PixelData"].VR, result["PixelData"].is_undefined_length = "OB", True
        result.file_meta.TransferSyntaxUID = syntax
        if dataset.SamplesPerPixel == 3:
            result.PhotometricInterpretation = "YBR_RCT"
    else:
        result.compress(syntax, generate_instance_uid=False, encoding_plugin=PLUGINS[syntax])
    return result


@pytest.mark.system
@pytest.mark.parametrize("tool", KEEPS)
def test_what_dcmtk_writes_anew_is_the_same(corpus, tmp_path, tool):
    written, target = 0, tmp_path / "anew.dcm"
    for path in native_images(corpus):
        if run(KEEPS[tool], path, target):
            # 32 bits in big endian OW: the standard does not say in which order the halves of a pixel come
            if tool != "big endian" or pydicom.dcmread(path).get("BitsAllocated", 0) <= 16:
                assert same_content(path, target), path.name
                assert same_content(target, path), path.name
            written += 1
    assert written >= 10


@pytest.mark.system
def test_what_was_compressed_is_the_same_once_it_is_not(corpus, tmp_path):
    plain, back, tools = (
        tmp_path / "plain.dcm",
        tmp_path / "back.dcm",
        {"5": "dcmdrle", "70": "dcmdjpeg", "80": "dcmdjpls"},
    )
    compared = 0
    for path in sorted((corpus / "nema_wg04").rglob("*")):
        tool = tools.get(str(syntax_of(path)).rsplit(".", 1)[1]) if path.is_file() else None
        if tool is not None and path.stat().st_size < 400_000 and run((tool,), path, plain):
            assert same_content(path, plain), path.name
            assert run(KEEPS["JPEG-LS"], plain, back)
            assert same_content(path, back), path.name
            compared += 1
    assert compared >= 12


@pytest.mark.system
@pytest.mark.parametrize("tool", LOSES)
def test_what_was_compressed_with_loss_is_not_the_same(corpus, tmp_path, tool):
    written = 0
    for path in native_images(corpus):
        lossy, there = tmp_path / "lossy.dcm", pydicom.dcmread(path)
        if run(LOSES[tool], path, lossy):
            changed = pydicom.dcmread(lossy)
            for element in there:  # all that the encoder said of it undone, so that pixels alone are left to tell
                if element.tag != 0x7FE00010 and element.tag not in (0x00280004, 0x00280006):
                    changed[element.tag] = element
            for tag in set(changed.keys()) - set(there.keys()):
                del changed[tag]
            assert not same_content(path, save(changed, lossy)), path.name
            written += 1
    assert written >= 3


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless], ids=str)
@pytest.mark.parametrize("name", BUNDLED)
def test_one_change_in_what_was_written_anew(tmp_path, name, syntax):
    source = Path(get_testdata_file(name))
    original = pydicom.dcmread(source)
    anew = compressed(original, syntax)
    assert same_content(source, save(anew, tmp_path / "anew.dcm"))

    def changed_by(change) -> bool:
        other = copy.deepcopy(anew)
        change(other)
        return not same_content(source, save(other, tmp_path / "changed.dcm"))

    def nested(other):
        item = pydicom.Dataset()
        item.CodeValue = "1"
        other.ProcedureCodeSequence = Sequence([item])

    assert changed_by(lambda other: setattr(other, "StudyDescription", "another"))
    assert changed_by(lambda other: delattr(other, "Modality"))
    assert changed_by(lambda other: setattr(other, "LossyImageCompression", "01"))
    assert changed_by(lambda other: other.add_new(0x00091001, "LO", "private"))
    assert changed_by(lambda other: setattr(other, "PatientComments", ""))
    assert changed_by(nested)
    pixels = pydicom.dcmread(source)
    array = np.frombuffer(bytearray(pixels.PixelData), np.uint8)
    array[len(array) // 2 & ~1] ^= 1
    pixels.PixelData = array.tobytes()
    assert not same_content(source, save(compressed(pixels, syntax), tmp_path / "changed.dcm"))


@st.composite
def data_sets(draw, depth=0):
    """Small data sets with private, nested, empty and padded values."""
    dataset = pydicom.Dataset()
    dataset.PatientName = draw(st.sampled_from(["", "A^B", "Ab^C^D"]))
    dataset.ImageType = draw(st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "X"]), max_size=3))
    dataset.WindowCenter = draw(st.lists(st.sampled_from(["1", "-20.5", "300"]), max_size=3))
    dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", draw(st.sampled_from(["", "odd", "even"])))
    dataset.private_block(0x0011, "MAKER").add_new(2, "FD", draw(st.floats(allow_nan=False)))
    if depth < 2:
        items = draw(st.lists(data_sets(depth + 1), max_size=2))
        dataset.private_block(0x0011, "MAKER").add_new(3, "SQ", items)
        dataset.ReferencedStudySequence = draw(st.lists(data_sets(depth + 1), max_size=2))
    return dataset


def written(dataset: pydicom.Dataset, path: Path, syntax, *, undefined: bool) -> Path:
    whole = copy.deepcopy(dataset)
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = syntax
    whole.SOPClassUID, whole.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66", "1.2.3"
    for element in whole.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    return save(whole, path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    one=data_sets(),
    other=data_sets(),
    syntaxes=st.tuples(*[st.sampled_from(NATIVE)] * 2),
    lengths=st.tuples(*[st.booleans()] * 2),
)
def test_data_sets_are_the_same_however_they_are_written_and_only_then(tmp_path, one, other, syntaxes, lengths):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    first = written(one, paths[0], syntaxes[0], undefined=lengths[0])
    assert same_content(first, written(one, paths[1], syntaxes[1], undefined=lengths[1]))
    assert same_content(first, written(other, paths[2], syntaxes[1], undefined=lengths[1])) is (one == other)


def test_the_same_lossy_code_stream_in_another_file_is_the_same(tmp_path):
    source = Path(get_testdata_file("examples_ybr_color.dcm"))
    dataset = pydicom.dcmread(source)
    dataset.add_new(0xFFFCFFFC, "OB", bytes(100))
    dataset.add_new(0x00080000, "UL", 1234)
    assert same_content(source, save(dataset, tmp_path / "padded.dcm"))
    dataset.PixelData = dataset.PixelData.replace(b"\xff\xd9", b"\xff\xd8", 1)
    assert not same_content(source, save(dataset, tmp_path / "changed.dcm"))


@pytest.mark.parametrize(("stays", "goes"), [(JPEG2000Lossless, JPEG2000), (JPEGLSLossless, JPEGLSNearLossless)])
def test_what_may_be_lossy_is_no_witness(tmp_path, stays, goes):
    source = Path(get_testdata_file("CT_small.dcm"))
    anew = compressed(pydicom.dcmread(source), stays)
    assert same_content(source, save(anew, tmp_path / "anew.dcm"))
    anew.file_meta.TransferSyntaxUID = goes
    assert not same_content(source, save(anew, tmp_path / "anew.dcm"))


def test_bits_that_a_codec_drops_are_content(tmp_path):
    """An overlay in the unused high bits (retired, PS3.5 8.1.2) is lost in JPEG-LS of the stored bits alone."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PixelRepresentation = dataset["PixelRepresentation"].value * 0
    words = (dataset.pixel_array.astype("<u2") & 0x0FFF).copy()
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = words.tobytes()
    anew = compressed(dataset, JPEGLSLossless)
    assert same_content(save(dataset, tmp_path / "plain.dcm"), save(anew, tmp_path / "anew.dcm"))
    words[3, 5] |= 0x4000
    dataset.PixelData = words.tobytes()
    assert not same_content(save(dataset, tmp_path / "plain.dcm"), tmp_path / "anew.dcm")


def test_bytes_beyond_the_frames_are_content(tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    anew = save(compressed(dataset, RLELossless), tmp_path / "anew.dcm")
    dataset.PixelData += b"\x01\x02"
    assert not same_content(save(dataset, tmp_path / "plain.dcm"), anew)


def test_whatever_bytes_come_the_answer_is_a_plain_no(tmp_path):
    rng = np.random.default_rng(7)
    for name in ("CT_small.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "test-SR.dcm"):
        source, target = Path(get_testdata_file(name)), tmp_path / "mutated.dcm"
        raw = source.read_bytes()
        assert same_content(source, source), name
        for _ in range(150):
            content = bytearray(raw)
            for place in rng.integers(144, len(raw), 8):
                content[place] = rng.integers(256)
            target.write_bytes(content[: rng.integers(200, len(raw))])
            assert not same_content(source, target)
    target.write_bytes(b"")
    assert not same_content(source, target)
    assert not same_content(source, tmp_path / "missing.dcm")


def test_what_would_be_too_large_is_not_compared(tmp_path, monkeypatch):
    source = Path(get_testdata_file("CT_small.dcm"))
    anew = save(compressed(pydicom.dcmread(source), RLELossless), tmp_path / "anew.dcm")
    deflated = save(compressed(pydicom.dcmread(source), DeflatedExplicitVRLittleEndian), tmp_path / "deflated.dcm")
    assert same_content(source, anew)
    with monkeypatch.context() as patch:
        patch.setattr("dicom_pipeline.dicom.sameness.content.MAX_FRAME_BYTES", 128 * 128 * 2 - 1)
        assert not same_content(source, anew)
    with monkeypatch.context() as patch:
        patch.setattr("dicom_pipeline.dicom.sameness.content.MAX_DECODED_BYTES", 128 * 128 * 2 - 1)
        assert not same_content(source, anew)
    monkeypatch.setattr("dicom_pipeline.dicom.sameness.content.MAX_FILE_BYTES", deflated.stat().st_size)
    assert not same_content(deflated, deflated)
