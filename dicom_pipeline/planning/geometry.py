"""Frames in space: orientation, plane, position along the normal of those that lie parallel.

Source: PS3.3 C.7.6.2.1.1 (Image Position and Orientation), C.7.6.16.2.3-4 (the same for each frame).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, nested_items, numbers_of, read_value, texts_of
from dicom_pipeline.dicom.mosaics import slice_points, tiles_of
from dicom_pipeline.domain import Frame, FrameKey
from dicom_pipeline.planning.headers import Header

SAME_DIRECTION = 0.01
"""Largest difference of direction cosines within a stack: half a degree, what rounding and table movement make."""


PLANES = ("sagittal", "coronal", "axial")
"""By the axis of the patient (x, y, z; PS3.3 C.7.6.2.1.1) that the normal is nearest to."""


@dataclass(frozen=True, slots=True)
class LocatedFrame:
    """A frame with its geometry.

    orientation: the six direction cosines as given, each vector normalised, () where missing. point: Image Position
    (Patient) in mm. normal: of the stack that the frame belongs to, () until that is known.
    """

    frame: Frame
    header: Header
    functional: tuple[Dataset, ...]
    orientation: tuple[float, ...]
    point: tuple[float, float, float] | None
    number: float
    normal: tuple[float, ...] = ()

    @property
    def position(self) -> float | None:
        """Distance of the frame from the origin along the normal of its stack, in mm."""
        if self.point is None or not self.normal:
            return None
        return float(np.dot(self.normal, self.point))

    @property
    def plane(self) -> str:
        """The plane that the frame is nearest to: axial, coronal or sagittal; empty without orientation."""
        if not self.orientation:
            return ""
        normal = np.abs(np.cross(self.orientation[:3], self.orientation[3:]))
        return PLANES[int(np.argmax(normal))]

    def value(self, keyword: str) -> str:
        """An attribute of this frame as text: its functional groups first."""
        for source in self.functional:
            if found := texts_of(source, keyword):
                return "\\".join(found)
        return self.header.text(keyword)


def first_frame(header: Header) -> LocatedFrame:
    """The first frame of an instance with its geometry."""
    return locate_frames(header)[0] if header.frames == 1 or header.located else _located(header, 1)[0]


def locate_frames(header: Header) -> Sequence[LocatedFrame]:
    """The frames of an instance with their geometry."""
    if not header.located:
        header.located.extend(_located(header, header.frames))
    return header.located


def _located(header: Header, count: int) -> list[LocatedFrame]:
    """The first `count` frames."""
    shared = _group_items(items_of(header.dataset, "SharedFunctionalGroupsSequence")[:1])
    per_frame = items_of(header.dataset, "PerFrameFunctionalGroupsSequence")
    number = header.number("InstanceNumber")
    tiles = tiles_of(header.dataset) if header.frames > 1 else None
    points = slice_points(header.dataset, tiles) if tiles is not None else []
    located = []
    for index in range(count):
        functional = (*_group_items(per_frame[index : index + 1]), *shared)
        orientation = numbers_of(_find(functional, header.dataset, "ImageOrientationPatient"), 6)
        if tiles is None:
            point = numbers_of(_find(functional, header.dataset, "ImagePositionPatient"), 3)
        else:
            point = points[index] if points else ()
        frame = Frame(FrameKey(header.sop_instance_uid, index + 1), header.path, header.series_instance_uid)
        located.append(
            LocatedFrame(
                frame=frame,
                header=header,
                functional=functional,
                orientation=_normalised(orientation),
                point=(point[0], point[1], point[2]) if point else None,
                number=number if number is not None else float("inf"),
            )
        )
    return located


def groups_of(located: Sequence[LocatedFrame]) -> list[list[LocatedFrame]]:
    """Frames of one matrix and, within a tolerance, one orientation; each with the normal of its group.

    A group is compared by its first frame, so that a series that turns (a radial one) does not become one group by small
    steps. The normal is that of the mean orientation: own normals would move the positions of slices far from the origin.
    """
    groups: list[tuple[tuple[str, str], list[LocatedFrame]]] = []
    for item in sorted(located, key=lambda p: (p.number, p.frame.key)):
        matrix = item.header.text("Rows"), item.header.text("Columns")
        alike = (group for other, group in groups if other == matrix and is_parallel(group[0], item))
        found = next(alike, None)
        if found is None:
            groups.append((matrix, [item]))
        else:
            found.append(item)
    return [_with_normal(group) for _, group in groups]


def is_parallel(one: LocatedFrame, other: LocatedFrame) -> bool:
    """Whether two frames have one orientation, within the tolerance; frames without orientation have the same."""
    pairs = zip(one.orientation, other.orientation, strict=False)
    return len(one.orientation) == len(other.orientation) and all(abs(a - b) <= SAME_DIRECTION for a, b in pairs)


def _with_normal(group: list[LocatedFrame]) -> list[LocatedFrame]:
    if not group[0].orientation:
        return group
    mean = np.mean([item.orientation for item in group], axis=0)
    normal = np.cross(mean[:3], mean[3:])
    return [replace(item, normal=tuple((normal / np.linalg.norm(normal)).tolist())) for item in group]


def _normalised(orientation: tuple[float, ...]) -> tuple[float, ...]:
    """Row and column direction as unit vectors; () where they are missing, zero or parallel and so span no plane."""
    if not orientation:
        return ()
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if min(lengths) < 0.5 or float(np.linalg.norm(np.cross(row, column))) < 0.5 * lengths[0] * lengths[1]:
        return ()
    return (*(row / lengths[0]).tolist(), *(column / lengths[1]).tolist())


def _group_items(groups: Sequence[Dataset]) -> tuple[Dataset, ...]:
    return tuple(item for group in groups for item in nested_items(group))


def _find(functional: Sequence[Dataset], dataset: Dataset, keyword: str) -> Any:
    return next((v for d in (*functional, dataset) if (v := read_value(d, keyword)) is not None), None)
