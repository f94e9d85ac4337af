"""One score as a NUM item (TID 300, PS3.16): method, the frame that made it, and what was scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    RelationshipTypeValues,
    ScoordContentItem,
    SourceImageForMeasurement,
    TextContentItem,
)
from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from dicom_pipeline.dicom.mosaics import Tiles, tiles_of
from dicom_pipeline.domain import FrameKey, Label, Score
from dicom_pipeline.reporting import codes
from dicom_pipeline.reporting.evidence import frame_number_of, reference_to, size_of

CONTENT = Tag("ContentSequence")


def in_report_order(scores: Sequence[Score], ranks: Mapping[str, int]) -> list[Score]:
    """Scores by their labels' ranks: the same order in every group, since viewers make columns of the first group."""
    return sorted(scores, key=lambda score: (ranks[score.label], score.label))


def ranks_of(scores: Sequence[Score]) -> dict[str, int]:
    """Label -> rank by its highest score in the whole report, from 0: viewers that show few labels show the highest."""
    best: dict[str, float] = {}
    for score in scores:
        best[score.label] = max(best.get(score.label, score.value), score.value)
    return {label: rank for rank, label in enumerate(sorted(best, key=lambda label: (-best[label], label)))}


def measurement(score: Score, label: Label, headers: Mapping[str, Dataset], *, as_region: bool) -> Measurement:
    """A score as a measurement. as_region: of the whole frame as a region, which viewers need to show the image.

    A slice of a mosaic is always given as its region, and by its number, which no reference to an image can hold.
    """
    site = codes.site_concept(label)
    header = headers[score.frame.sop_instance_uid]
    tiles = tiles_of(header)
    region = _region(score.frame, header, tiles) if as_region or tiles is not None else None
    made = Measurement(
        name=codes.score_concept(label),
        value=float(f"{score.value:.6g}"),  # six digits that count, for a sigmoid may be 0.0000123
        unit=codes.coded("concept", "score_unit"),
        finding_sites=[FindingSite(site)] if site else None,
        method=codes.coded("method", score.kind.value),
        referenced_images=None if region else [SourceImageForMeasurement(*reference(score.frame, headers))],
    )
    items = [*made[0].ContentSequence, *([region] if region else [])]
    if tiles is not None:
        items.append(_property("mosaic_slice", str(score.frame.frame)))
    scored = codes.label_concept(label)
    if scored is not None:
        concept = codes.coded("concept", "finding")
        items.append(CodeContentItem(concept, scored, relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD))
    if codes.is_shortened(label):
        items.append(_property("comment", label.name))
    made[0].ContentSequence = DicomSequence(items)
    return made


def _property(concept: str, text: str) -> TextContentItem:
    return TextContentItem(
        codes.coded("concept", concept), text, relationship_type=RelationshipTypeValues.HAS_PROPERTIES
    )


def references(keys: Sequence[FrameKey], headers: Mapping[str, Dataset]) -> list[tuple[str, str, list[int] | None]]:
    """A reference to each image or frame; slices of one mosaic are one."""
    return list({(key.sop_instance_uid, str(of[2])): of for key in keys for of in [reference(key, headers)]}.values())


def reference(key: FrameKey, headers: Mapping[str, Dataset]) -> tuple[str, str, list[int] | None]:
    """SOP class, instance and (for multi-frame objects) frame number of a reference."""
    header = headers[key.sop_instance_uid]
    number = frame_number_of(header, key)
    return str(header.SOPClassUID), key.sop_instance_uid, None if number is None else [number]


def _region(key: FrameKey, header: Dataset, tiles: Tiles | None) -> ScoordContentItem | None:
    """The outline of a whole frame, or of a mosaic's slice (TID 320): the score is of all of it. None: size not known."""
    size, (top, left) = size_of(header), (0, 0)
    if tiles is not None:
        size, (top, left) = (tiles.rows, tiles.columns), tiles.corner(key.frame)
    if size is None:
        return None
    rows, columns = size
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows], [0, 0]], np.float64)
    outline = corners + np.array([left, top], np.float64)
    region = ScoordContentItem(
        codes.coded("concept", "source_of_measurement"),
        GraphicTypeValues.POLYLINE,
        outline,
        relationship_type=RelationshipTypeValues.INFERRED_FROM,
    )
    image = Dataset()
    image.RelationshipType, image.ValueType = "SELECTED FROM", "IMAGE"  # TID 320 gives it no concept name
    referenced = reference_to(str(header.SOPClassUID), key.sop_instance_uid)
    if (number := frame_number_of(header, key)) is not None:
        referenced.ReferencedFrameNumber = number
    image.ReferencedSOPSequence = DicomSequence([referenced])
    region[CONTENT] = DataElement(CONTENT, "SQ", DicomSequence([image]))  # highdicom wants a name of every item
    return region
