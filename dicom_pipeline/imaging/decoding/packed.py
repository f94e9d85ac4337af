"""What rendering needs of a header that was read elsewhere, small enough to be sent along with each frame.

A file's header is parsed once, where its study is planned: what was planned is what is rendered, and no process that renders
parses it again. Only of single-frame files, of which most studies of many files consist; a multi-frame header is large, and
its reader keeps it from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.dicom.mosaics import tiles_of
from dicom_pipeline.dicom.reading import ReadFile

IMAGE_GROUP = 0x0028
KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PresentationLUTShape",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
"""What rendering looks at outside of the group of image attributes (0028,eeee)."""

SEQUENCES = (
    "OpticalPathSequence",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
)
"""A header with one of these is read again where it is rendered."""

TAGS, SEQUENCE_TAGS = (
    frozenset(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)
    for keywords in (KEYWORDS, SEQUENCES)
)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A single-frame file whose header was read, as far as rendering needs it."""

    path: Path
    elements: tuple[RawDataElement | DataElement, ...]
    implicit: bool
    little_endian: bool
    syntax: str
    pixel_data: int
    data_set: int

    @classmethod
    def of(cls, file: ReadFile) -> PackedFile | None:
        """The file, or None where its header does not pack: several frames or slices, deflated, or with sequences."""
        dataset = file.dataset
        implicit, little_endian = dataset.original_encoding
        if file.deflated_at is not None or implicit is None or little_endian is None:
            return None
        tags = dataset.keys()  # iterating over the data set itself would convert its values
        several = (integer_of(dataset, "NumberOfFrames") or 1) > 1 or tiles_of(dataset) is not None
        if several or not SEQUENCE_TAGS.isdisjoint(tags):
            return None
        found = (dataset.get_item(tag) for tag in tags if tag >> 16 == IMAGE_GROUP or tag in TAGS)
        elements = tuple(element for element in found if isinstance(element, RawDataElement | DataElement))
        return cls(file.path, elements, implicit, little_endian, str(file.syntax), file.pixel_data, file.data_set)

    @property
    def file(self) -> ReadFile:
        """The file with what was packed of its header."""
        dataset = Dataset({element.tag: element for element in self.elements})
        dataset.set_original_encoding(self.implicit, self.little_endian)
        return ReadFile(self.path, dataset, UID(self.syntax), self.pixel_data, self.data_set)
