"""The image library of a report: every image whose frames were used (TID 1600, PS3.16); viewers ask for one.

Written as plain data sets: highdicom's own takes descriptors that real images lack and refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom.attributes import integer_of
from dicom_pipeline.domain import Plan, SeriesPlan
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.evidence import LO, Identity, printable, reference_to
from dicom_pipeline.reporting.names import series_number_of

IMAGING_MEASUREMENTS = "126010"
IMAGE_ITEM = (DataElement("RelationshipType", "CS", "CONTAINS"), DataElement("ValueType", "CS", "IMAGE"))


def add_image_library(
    report: Dataset, plan: Plan, instances: Mapping[str, Identity], headers: Mapping[str, Dataset]
) -> None:
    """Put the library where TID 1500 has it: before the measurements.

    headers: cleaned headers of the images that scores refer to; they give the numbers by which a workstation knows series
    and images (TID 1602), which those of all the other images would only make long.
    """
    groups = []
    for series in plan.series:
        uids = dict.fromkeys(frame.key.sop_instance_uid for frame in series.frames)
        if uids:
            group = _container("image_library_group")
            group.ContentSequence = DicomSequence(
                [*_of_series(series, headers), *(_image(instances[uid], headers.get(uid)) for uid in uids)]
            )
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
    item.ConceptNameCodeSequence = DicomSequence([codes.as_item(codes.coded("concept", name))])
    item.ContinuityOfContent = "SEPARATE"
    return item


def _of_series(series: SeriesPlan, headers: Mapping[str, Dataset]) -> list[Dataset]:
    """What all images of a group share: the series' number and description, where they are known."""
    number, description = series_number_of(series, headers), printable(series.description, LO)
    numbered = [] if number is None else [_described("series_number", str(number))]
    return numbered + ([_described("series_description", description)] if description else [])


def _image(instance: Identity, header: Dataset | None) -> Dataset:
    """An IMAGE item; TID 1601 gives it no concept name."""
    item = Dataset({element.tag: element for element in IMAGE_ITEM})
    item.ReferencedSOPSequence = DicomSequence([reference_to(instance.sop_class, instance.sop_instance)])
    number = None if header is None else integer_of(header, "InstanceNumber")
    if number is not None:
        item.ContentSequence = DicomSequence([_described("instance_number", str(number))])
    return item


def _described(name: str, text: str) -> Dataset:
    return codes.text_item("HAS ACQ CONTEXT", name, text)
