"""The stacks of a series: frames of one orientation, matrix and contrast, in their order.

Source: PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.2 (Frame Content: stacks and temporal positions).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from dicom_pipeline.domain import Frame
from dicom_pipeline.planning.geometry import LocatedFrame, groups_of
from dicom_pipeline.planning.recognition.contrasts import b_value, component

Splitter = tuple[str, Callable[[LocatedFrame], str]]
"""A name, and what it says of a frame as text."""


def _b_value_text(frame: LocatedFrame) -> str:
    value = b_value(frame)
    return "" if value is None else f"{value:g}"


def _attribute(keyword: str) -> Splitter:
    return keyword, lambda frame: frame.value(keyword)


CONTRASTS: tuple[Splitter, ...] = (
    ("image component", component),
    ("b-value", _b_value_text),
    _attribute("EchoNumbers"),
    _attribute("EffectiveEchoTime"),
    _attribute("EchoTime"),
    _attribute("FrameType"),
    _attribute("ImageType"),
)
"""What tells frames of one place apart for sure."""

TIMES: tuple[Splitter, ...] = (
    _attribute("TemporalPositionIdentifier"),
    _attribute("TemporalPositionIndex"),
    _attribute("NominalCardiacTriggerDelayTime"),
    _attribute("TriggerTime"),
    _attribute("DiffusionGradientOrientation"),
    _attribute("AcquisitionNumber"),
    _attribute("AcquisitionTime"),
    _attribute("AcquisitionDateTime"),
    _attribute("ContentTime"),
)
"""What may tell them apart, or be another one for each frame of a stack; then it is passed over."""

SPLITTERS = (*CONTRASTS, *TIMES)
"""In the order in which they are tried where several frames lie at one position."""

PASSES = (*CONTRASTS[:5], _attribute("TemporalPositionIdentifier"), _attribute("AcquisitionNumber"))
"""What tells the passes of a series apart whose slices lie between one another."""

REGULAR = 0.05
"""Slices are evenly spaced where each step is within this share of the usual one."""

SAME_POSITION_MM = 0.01


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames of one orientation, matrix and contrast in their order.

    group: number of the orientation and matrix within the series; stacks of one group lie over one another. repeats: how
    many stacks hold the same before it, as far as any attribute tells.
    """

    group: int
    located: tuple[LocatedFrame, ...]
    repeats: int = 0

    @property
    def frames(self) -> list[Frame]:
        """The frames in their order."""
        return [item.frame for item in self.located]

    @property
    def number(self) -> int:
        """Number of the stack within the series, as its frames carry it."""
        return self.located[0].frame.stack

    @property
    def plane(self) -> str:
        """The plane that the stack is nearest to; empty without orientation."""
        return self.located[0].plane


def stacks_of(located: Sequence[LocatedFrame]) -> tuple[list[Stack], str]:
    """The stacks of a series by orientation and matrix, and a note where their order is not plain geometry.

    The frames of one orientation and matrix are split by Stack ID and, where several lie at one position or passes lie
    between one another, by the first attributes that tell them apart. Each stack is ordered along its normal, without
    geometry by Instance Number, then frame number.
    """
    notes: list[str] = []
    stacks: list[Stack] = []
    for number, group in enumerate(groups_of(located)):
        if any(item.position is None for item in group):
            if len(group) > 1:
                notes.append("no position or orientation: ordered by Instance Number")
            stacks.append(_stack(number, group, len(stacks)))
            continue
        for whole in _split((group,), _attribute("StackID"), notes):
            for part, repeats in _without_duplicates(whole, notes):
                ordered = sorted(part, key=lambda p: (p.position or 0.0, p.number, p.frame.key))
                if _is_tilted(ordered):
                    notes.append("gantry tilt: ordered along the slice normal")
                stacks.append(_stack(number, ordered, len(stacks), repeats))
    return stacks, "; ".join(dict.fromkeys(notes))


def _stack(group: int, located: Sequence[LocatedFrame], number: int, repeats: int = 0) -> Stack:
    """The frames as a stack, each with its position where they all have one."""
    known = all(item.position is not None for item in located)
    frames = (
        replace(p.frame, stack=number, position_mm=round(p.position or 0.0, 3) if known else None) for p in located
    )
    return Stack(group, tuple(replace(p, frame=f) for p, f in zip(located, frames, strict=True)), repeats)


Part = list[LocatedFrame]


def _without_duplicates(group: Part, notes: list[str]) -> list[tuple[Part, int]]:
    """The group split so that no two frames of a part lie at one position, with how many like it come before each."""
    parts = [group]
    for splitter in SPLITTERS:
        if not any(_has_duplicates(part) for part in parts):
            break
        parts = _split(parts, splitter, notes, only=_has_duplicates, sure=splitter in CONTRASTS)
    result: list[tuple[Part, int]] = []
    for part in parts:
        if _has_duplicates(part):
            notes.append("several frames at one position that no attribute tells apart: split by Instance Number")
            result += [(piece, repeats) for repeats, piece in enumerate(_by_occurrence(part))]
        else:
            result += [(piece, 0) for piece in _passes(part, notes)]
    return result


def _split(
    parts: Sequence[Part],
    splitter: Splitter,
    notes: list[str],
    *,
    only: Callable[[Part], bool] = lambda _: True,
    sure: bool = True,
) -> list[Part]:
    """The parts, those that `only` holds of split by an attribute; not where it is unsure and tells most frames apart."""
    name, key = splitter
    result: list[Part] = []
    for part in parts:
        pieces = _by(part, key) if only(part) else [part]
        if len(pieces) > 1 and (sure or len(pieces) * 2 <= len(part) + 1):
            result += pieces
            notes.append(f"stacks told apart by {name}")
        else:
            result.append(part)
    return result


def _passes(part: Part, notes: list[str]) -> list[Part]:
    """The passes of a part that lie between one another unevenly; the part itself where passes follow on or interleave."""
    for name, key in PASSES:
        pieces = sorted(_by(part, key), key=_extent)
        if len(pieces) < 2 or len(pieces) * 2 > len(part) + 1:
            continue
        overlap = any(after[0] < before[1] for before, after in pairwise(_extent(piece) for piece in pieces))
        if overlap and not _is_regular(part):
            notes.append(f"passes told apart by {name}")
            return pieces
        how = "interleave" if overlap else "follow one another"
        notes.append(f"{len(pieces)} passes ({name}) {how} in one stack")
        break
    return [part]


def _extent(part: Part) -> tuple[float, float]:
    positions = [item.position or 0.0 for item in part]
    return min(positions), max(positions)


def _is_regular(part: Part) -> bool:
    steps = np.diff(sorted(item.position or 0.0 for item in part))
    usual = float(np.median(steps)) if len(steps) else 0.0
    return bool(np.all(np.abs(steps - usual) <= REGULAR * usual + SAME_POSITION_MM))


def _by(items: Iterable[LocatedFrame], key: Callable[[LocatedFrame], str]) -> list[list[LocatedFrame]]:
    parts: dict[str, list[LocatedFrame]] = defaultdict(list)
    for item in items:
        parts[key(item)].append(item)
    return list(parts.values())


def _position_key(item: LocatedFrame) -> int:
    return round((item.position or 0.0) / SAME_POSITION_MM)


def _has_duplicates(part: Sequence[LocatedFrame]) -> bool:
    return max(Counter(_position_key(item) for item in part).values(), default=0) > 1


def _by_occurrence(part: Sequence[LocatedFrame]) -> list[list[LocatedFrame]]:
    """First frame at each position, second frame at each, and so on."""
    seen: Counter[int] = Counter()
    parts: list[list[LocatedFrame]] = []
    for item in part:
        turn = seen[_position_key(item)]
        seen[_position_key(item)] += 1
        if turn == len(parts):
            parts.append([])
        parts[turn].append(item)
    return parts


def _is_tilted(ordered: Sequence[LocatedFrame]) -> bool:
    if len(ordered) < 3 or ordered[0].point is None or ordered[-1].point is None:
        return False
    walk = np.subtract(ordered[-1].point, ordered[0].point)
    along = (ordered[-1].position or 0.0) - (ordered[0].position or 0.0)
    length = float(np.linalg.norm(walk))
    return length > 1.0 and abs(along) / length < 0.999
