"""A real data set as bytes, in the syntaxes that are written without a codec."""

import zlib

import pydicom
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

SOURCE = get_testdata_file("CT_small.dcm")


def data_set(syntax, extra=(), at=None) -> bytes:
    """SOURCE's data set; `extra` elements stand behind its last one below the tag `at`, whatever their order."""
    dataset = pydicom.dcmread(SOURCE)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.is_implicit_VR, True
    write_dataset(stream, dataset[:at] if at else pydicom.Dataset(dataset))
    for element in extra:
        write_data_element(stream, element)
    if at:
        write_dataset(stream, dataset[at:])
    content = stream.getvalue()
    return deflated(content) if syntax == DeflatedExplicitVRLittleEndian else content


def deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()
