"""What was sent beside what a destination gives back, as data sets: the file around them changes on its way, they must not."""

from __future__ import annotations

import io

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import keyword_for_tag
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

NO_OBJECT_READ_BACK = "stored, but what was read back is not a DICOM object"


def changed_attributes(sent: Dataset, back: Dataset) -> list[str]:
    """Names of the attributes that came back with another value or not at all, at the top level; never their values.

    An empty attribute may be left out, and a server may add its own (such as Retrieve AE Title). One that keeps Implicit VR
    gives private attributes back as UN and bytes of pixels as OW, the same bytes.
    """
    if not (changed := _changed(sent, back)):
        return changed
    return _changed(_without_representations(sent), _without_representations(back))


def _changed(sent: Dataset, back: Dataset) -> list[str]:
    return [
        keyword_for_tag(element.tag) or str(element.tag)
        for element in sent
        if (back[element.tag] != element if element.tag in back else not element.is_empty)
    ]


def _without_representations(dataset: Dataset) -> Dataset:
    """The data set as it comes back from Implicit VR Little Endian, in which no VR is written."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, dataset, convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6")))
    return read_dataset(io.BytesIO(stream.getvalue()), is_implicit_VR=True, is_little_endian=True)


def difference(sent: Dataset, back: Dataset) -> str:
    """A sentence that names what differs, "" where nothing does."""
    changed = changed_attributes(sent, back)
    return f"another content lies there under this UID (differs in {', '.join(changed[:8])})" if changed else ""
