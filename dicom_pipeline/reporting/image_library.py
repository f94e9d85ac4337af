"""The image library of a report: every image whose frames were used (TID 1600, PS3.16); viewers ask for one.

Written as plain data sets: highdicom's own takes descriptors that real images lack and refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import CodedConcept
from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.domain import Plan
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.evidence import Identity, reference_to

IMAGING_MEASUREMENTS = "126010"
IMAGE_ITEM = (DataElement("RelationshipType", "CS", "CONTAINS"), DataElement("ValueType", "CS", "IMAGE"))


def add_image_library(report: Dataset, plan: Plan, instances: Mapping[str, Identity]) -> None:
    """Put the library where TID 1500 has it: before the measurements."""
    groups = []
    for series in plan.series:
        uids = dict.fromkeys(frame.key.sop_instance_uid for frame in series.frames)
        if uids:
            group = _container("image_library_group")
            group.ContentSequence = DicomSequence(_image(instances[uid]) for uid in uids)
            groups.append(group)
    library = _container("image_library")
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1600"
    library.ContentTemplateSequence = DicomSequence([template])
    library.ContentSequence = DicomSequence(groups)
    items = list(report.ContentSequence)
    names = [str(item.ConceptNameCodeSequence[0].CodeValue) for item in items]
    index = names.index(IMAGING_MEASUREMENTS) if IMAGING_MEASUREMENTS in names else len(items)
    report.ContentSequence = DicomSequence([*items[:index], library, *items[index:]])


def _container(name: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "CONTAINER"
    item.ConceptNameCodeSequence = DicomSequence([_plain(codes.coded("concept", name))])
    item.ContinuityOfContent = "SEPARATE"
    return item


def _image(instance: Identity) -> Dataset:
    """An IMAGE item; TID 1601 gives it no concept name."""
    item = Dataset({element.tag: element for element in IMAGE_ITEM})
    item.ReferencedSOPSequence = DicomSequence([reference_to(instance.sop_class, instance.sop_instance)])
    return item


def _plain(code: CodedConcept) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
