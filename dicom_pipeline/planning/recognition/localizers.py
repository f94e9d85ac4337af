"""Localizers (scouts, topograms, surveys): known by their name, and without one by their geometry.

A technologist plans the examination on them: the projection of a CT, a few slices in each of three planes of an MR. They
show the patient in another way than the stacks do and are no input. Names stand in data/selection.toml.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from dicom_pipeline.dicom.attributes import first_number
from dicom_pipeline.planning.geometry import LocatedFrame, groups_of, locate_frames
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.recognition.words import selection_terms

MODALITIES = ("CT", "MR", "PT")

FEW_SLICES = 12
"""A series of at most so many slices may be a localizer where a weak name says so."""

SLICES_OF_A_PLANE = 25
"""At most so many slices has each plane of a localizer with three planes; one with two, half as many."""

VERY_FEW_SLICES = 5
"""So few slices in each of three planes need no gaps between them; two long axes of a heart have one slice each."""

USUAL_THICKNESS_MM = 5.0
"""Where no slice thickness is stated."""

CT_PROJECTIONS = 2
"""Projections of a CT in one direction; a stack that is not axial has more slices."""

THICK_GAP = 1.5
"""From here on the distance of slices over their thickness is a thick gap: half a slice and more is not shown."""

SOME_GAP = 1.15
"""The gap that three planes with more than a few slices need: contiguous ones are a volume."""

PARALLEL, ORTHOGONAL = 0.9, 0.35
"""The cosine between normals of the same plane (25 degrees), and of planes at right angles (within 20 degrees)."""

MAX_FRAMES = 2 * 3 * SLICES_OF_A_PLANE
"""A series of more frames is no localizer by its geometry."""


def find_localizers(pictures: Sequence[Header]) -> dict[str, str]:
    """SOP Instance UIDs of the localizers among the instances of a series, and what tells that they are."""
    if not pictures or pictures[0].modality not in MODALITIES:
        return {}
    words, first = selection_terms(), pictures[0]
    name = first.text("SeriesDescription") or first.text("ProtocolName")
    found = words.localizer_names.find(name) or words.localizer_names.find(first.text("ScanOptions"))
    if found:
        return {header.sop_instance_uid: f"named {found.lower()}" for header in pictures}
    small = sum(header.frames for header in pictures) <= MAX_FRAMES
    groups = groups_of([item for header in pictures for item in locate_frames(header)]) if small else []
    weak = words.weak_localizer_names.find(name)
    if weak and groups and (agreed := _agreement(groups)):
        return {header.sop_instance_uid: f"named {weak.lower()}, {agreed}" for header in pictures}
    if _is_derived(first):
        return {}
    if first.modality == "CT":
        return _projections(pictures)
    shape = _orthogonal_planes(groups) if first.modality == "MR" else ""
    return {header.sop_instance_uid: shape for header in pictures} if shape else {}


def _is_derived(header: Header) -> bool:
    return header.text("ImageType").upper().startswith("DERIVED")


def _agreement(groups: Sequence[list[LocatedFrame]]) -> str:
    """What of the geometry agrees with a weak name; empty where nothing does."""
    count = sum(_slices(group) for group in groups)
    if count <= FEW_SLICES:
        return f"{count} slices"
    gap = max(_relative_gap(group) for group in groups)
    return f"gaps of {gap - 1:.1f} slices" if gap >= THICK_GAP else _orthogonal_planes(groups)


def _projections(pictures: Sequence[Header]) -> dict[str, str]:
    """One or two CT images in a plane that is not axial: projections, in a series of their own or before the stack."""
    planes: dict[str, list[str]] = defaultdict(list)
    for header in pictures:
        if header.frames > CT_PROJECTIONS:
            continue
        for item in locate_frames(header):
            planes[item.plane].append(header.sop_instance_uid)
    few = {plane: uids for plane, uids in planes.items() if plane not in ("", "axial") and len(uids) <= CT_PROJECTIONS}
    return {uid: f"a single {plane} CT image" for plane, uids in few.items() for uid in uids}


def _orthogonal_planes(groups: Sequence[list[LocatedFrame]]) -> str:
    """Two or three planes at right angles, of few slices or with gaps between them; empty where the groups are none."""
    if len(groups) < 2 or not all(group[0].normal for group in groups):
        return ""
    cosines = [abs(float(np.dot(one[0].normal, other[0].normal))) for one, other in combinations(groups, 2)]
    repeated = any(len(group) > 2 * _slices(group) for group in groups)  # a cine in several planes
    if repeated or any(ORTHOGONAL < cosine < PARALLEL for cosine in cosines) or min(cosines) >= PARALLEL:
        return ""
    planes: list[list[list[LocatedFrame]]] = []
    for group in groups:
        same = (p for p in planes if abs(float(np.dot(p[0][0].normal, group[0].normal))) >= PARALLEL)
        plane = next(same, None)
        if plane is None:
            planes.append([group])
        else:
            plane.append(group)
    most = max(sum(_slices(group) for group in plane) for plane in planes)
    three = len(planes) > 2
    limit, needed = (SLICES_OF_A_PLANE, SOME_GAP) if three else (SLICES_OF_A_PLANE // 2, THICK_GAP)
    gap = max(_relative_gap(group) for group in groups)
    if (three and most <= VERY_FEW_SLICES) or (most <= limit and gap >= needed):
        return f"{len(planes)} planes at right angles, of at most {most} slices"
    return ""


def _slices(group: Sequence[LocatedFrame]) -> int:
    """How many places the frames of one orientation have; how many frames there are without geometry."""
    places = {round(position, 1) for item in group if (position := item.position) is not None}
    return len(places) or len(group)


def _relative_gap(group: Sequence[LocatedFrame]) -> float:
    """The usual distance of neighbouring slices over their thickness; 0 for a single slice."""
    places = sorted({round(position, 2) for item in group if (position := item.position) is not None})
    steps = [after - before for before, after in pairwise(places)]
    thickness = first_number(group[0].value("SliceThickness") or None) or USUAL_THICKNESS_MM
    return float(np.median(steps)) / thickness if steps and thickness > 0 else 0.0
