"""Stepping over values finds the tags that pydicom finds, in every syntax, and ends where a stream makes no sense."""

import io
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_pipeline.dicom.top_level import top_level_tags


def real_files():
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        try:
            dataset = pydicom.dcmread(path)
            whole = path, dataset.file_meta.TransferSyntaxUID, list(dataset)
        except Exception:  # noqa: BLE001 - a file of pydicom's that is damaged on purpose
            continue
        if whole[1] not in (DeflatedExplicitVRLittleEndian,) and "no_meta" not in path.name:
            yield path


@pytest.mark.parametrize("path", list(real_files()), ids=lambda path: path.name)
def test_the_tags_of_real_files_are_those_of_pydicom(path):
    dataset = pydicom.dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    with path.open("rb") as stream:
        stream.seek(_start(path))
        found = list(top_level_tags(stream, implicit=syntax.is_implicit_VR, little_endian=syntax.is_little_endian))
    assert [tag for tag in found if tag >> 16 != 2 and tag & 0xFFFF] == [int(e.tag) for e in dataset if e.tag.element]


def _start(path) -> int:
    """Where a data set begins: behind the preamble and group 2, as its group length says."""
    with path.open("rb") as stream:
        start = stream.read(144)
    return 144 + int.from_bytes(start[140:144], "little")


@st.composite
def datasets(draw, depth=3):
    """A data set with sequences, of which some have no defined length, some lie in each other and some are empty."""
    made = Dataset()
    made.PatientID = draw(st.text("ab", max_size=5))
    if depth and draw(st.booleans()):
        made.ReferencedStudySequence = Sequence(draw(st.lists(datasets(depth=depth - 1), max_size=2)))
        made["ReferencedStudySequence"].is_undefined_length = draw(st.booleans())
        for item in made.ReferencedStudySequence:
            item.is_undefined_length_sequence_item = draw(st.booleans())
    made.StudyInstanceUID = "1.2"
    return made


@given(datasets(), st.booleans(), st.booleans())
def test_sequences_are_stepped_over_whatever_their_lengths(dataset, implicit, little_endian):
    implicit = implicit and little_endian  # there is no Implicit VR Big Endian
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little_endian
    write_dataset(stream, dataset)
    found = top_level_tags(io.BytesIO(stream.getvalue()), implicit=implicit, little_endian=little_endian)
    assert list(found) == sorted(map(int, dataset.keys()))


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_what_makes_no_sense_ends(content, implicit, little_endian):
    assert len(list(top_level_tags(io.BytesIO(content), implicit=implicit, little_endian=little_endian))) <= 25
