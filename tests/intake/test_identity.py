"""Identity is read once: what two readers could see differently is refused, and a file that names other UIDs fails."""

import io

import pydicom
import pytest
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.catalog.revisions import ClaimedInstance
from dicom_pipeline.dicom.identity import IdentityError, read_identity
from dicom_pipeline.domain import Reason
from dicom_pipeline.planning import entered_headers, scan
from tests.dicom.made import SOURCE, data_set

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


def another(keyword, value):
    return pydicom.DataElement(pydicom.datadict.tag_for_keyword(keyword), "UI", value)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_whole_data_set_has_its_identity(syntax):
    identity = read_identity(io.BytesIO(data_set(syntax)), syntax, 10**8)
    dataset = pydicom.dcmread(SOURCE)
    assert identity.study_instance_uid == dataset.StudyInstanceUID
    assert identity.sop_instance_uid == dataset.SOPInstanceUID


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("keyword", "at"),
    [
        ("SOPInstanceUID", 0x0008001C),  # twice, side by side
        ("SOPInstanceUID", 0x00100010),  # twice, far apart
        ("StudyInstanceUID", 0x0020000E),
        ("SeriesInstanceUID", 0x0020000D),  # before its place, and there again
        ("SOPClassUID", 0x00200000),
        ("StudyInstanceUID", 0x00200010),  # behind everything that is read of identity
        ("SOPInstanceUID", 0x00280010),
        ("PatientID", 0x7FE00010),
        ("SeriesInstanceUID", 0xFFFFFFFF),  # behind the pixels
    ],
)
def test_an_attribute_that_comes_twice_or_out_of_order_is_refused(syntax, keyword, at):
    content = data_set(syntax, [another(keyword, "1.2.999")], at)
    with pytest.raises(IdentityError, match="ambiguous-identity"):
        read_identity(io.BytesIO(content), syntax, 10**8)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("at", [0x00100010, 0x00280010, 0x7FE00010])
def test_process_refuses_it_too(tmp_path, syntax, at):
    """Files are planned in place, by the same rule as what is received."""
    dataset = pydicom.dcmread(SOURCE)
    dataset.file_meta.TransferSyntaxUID = syntax
    head = io.BytesIO()
    write_file_meta_info(head, dataset.file_meta)
    content = data_set(syntax, [another("StudyInstanceUID", "1.2.999")], at)
    (tmp_path / "twice.dcm").write_bytes(bytes(128) + b"DICM" + head.getvalue() + content)
    (tmp_path / "once.dcm").write_bytes(bytes(128) + b"DICM" + head.getvalue() + data_set(syntax))
    found = scan([tmp_path])
    ((excluded,),) = [items for items in found.excluded.values() if items]
    assert (excluded.reason, excluded.path.name) == (Reason.AMBIGUOUS_IDENTITY, "twice.dcm")
    assert [header.path.name for members in found.studies.values() for header in members] == ["once.dcm"]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_file_that_names_another_uid_than_the_catalog_fails(tmp_path, keyword):
    dataset = pydicom.dcmread(SOURCE)
    study, series, sop = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    instance = ClaimedInstance(sop, series, "", "file.dcm", True, "CT1")
    dataset.save_as(tmp_path / "file.dcm")
    (header,), excluded = entered_headers(tmp_path, study, [instance])
    assert (header.study_instance_uid, excluded) == (study, [])
    setattr(dataset, keyword, "1.2.999")
    dataset.save_as(tmp_path / "file.dcm")
    headers, (found,) = entered_headers(tmp_path, study, [instance])
    assert headers == []
    assert (found.reason, found.detail) == (Reason.IDENTITY_MISMATCH, keyword)
