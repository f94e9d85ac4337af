"""Which frames of an ordered stack become inputs: the selection SPEC and its strategies.

all            every frame
uniform:N      N evenly over the stack; the rule of MedGemma 1.5's CT notebook
middle[:N]     the N frames in the middle (1 without N)
every-mm:X     frames at least X mm apart, from the first
body[:N]       without the air-only ends, then uniform:N (all without N)
key-objects    frames that a key object or presentation state of the study names; all where none does
diverse:N      N frames that differ most (k-centre on embeddings)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason
from dicom_pipeline.errors import SelectionError

AIR_ONLY_CONTENT = 0.02
"""A frame with less content than this share of its pixels shows air only."""

NEEDS_COUNT = frozenset({"uniform", "every-mm", "diverse"})
TAKES_COUNT = frozenset({"middle", "body"})
NO_COUNT = frozenset({"all", "key-objects"})


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed SPEC: strategy and its number, None where it has none."""

    strategy: str
    amount: float | None = None

    def __str__(self) -> str:
        return self.strategy if self.amount is None else f"{self.strategy}:{self.amount:g}"


@dataclass(frozen=True, slots=True)
class Measures:
    """What strategies may ask about frames, beyond their headers.

    content: share of a frame that is not air, 0..1; raises InstanceError. vectors: embeddings (N, D) of frames rendered
    with a preset.
    key_frames: frames that key objects of the study name.
    """

    content: Callable[[Frame], float] | None = None
    vectors: Callable[[Sequence[Frame], str], npt.NDArray[np.float32]] | None = None
    key_frames: frozenset[FrameKey] = frozenset()


def parse_selection(spec: str) -> Selection:
    """A SPEC as text -> Selection. Raises SelectionError that lists the forms."""
    strategy, _, amount = spec.strip().partition(":")
    if strategy in NO_COUNT and not amount:
        return Selection(strategy)
    if strategy in TAKES_COUNT and not amount:
        return Selection(strategy)
    if strategy in NEEDS_COUNT | TAKES_COUNT and amount:
        try:
            value = float(amount) if strategy == "every-mm" else int(amount)
        except ValueError:
            value = 0
        if 0 < value < float("inf"):
            return Selection(strategy, value)
    raise SelectionError(
        f"cannot read the selection {spec!r}: expected all, uniform:N, middle[:N], every-mm:X, body[:N], key-objects "
        "or diverse:N with a positive number, such as uniform:32"
    )


def uniform_indices(total: int, count: int) -> list[int]:
    """Indices of `count` of `total` items: round(i / count * (total - 1)) for i = 1..count; all where there are fewer.

    MedGemma 1.5, notebooks/high_dimensional_ct_hugging_face.ipynb (there with count 85). Python's round: half to even.
    """
    if total <= count:
        return list(range(total))
    return [round(i / count * (total - 1)) for i in range(1, count + 1)]


def choose(
    stack: Sequence[Frame], selection: Selection, measures: Measures, preset: str = ""
) -> tuple[list[Frame], dict[FrameKey, Reason]]:
    """The chosen frames in stack order, and a reason for each other one. Raises SelectionError."""
    reasons: dict[FrameKey, Reason] = {}
    frames = list(stack)
    amount = selection.amount
    if selection.strategy == "body":
        frames = _body(frames, measures)
        reasons = {f.key: Reason.AIR_ONLY for f in stack if f not in set(frames)}
        chosen = _at(frames, uniform_indices(len(frames), int(amount))) if amount else frames
    elif selection.strategy == "uniform":
        chosen = _at(frames, uniform_indices(len(frames), int(amount or 1)))
    elif selection.strategy == "middle":
        count = min(int(amount or 1), len(frames))
        start = (len(frames) - count) // 2
        chosen = frames[start : start + count]
    elif selection.strategy == "every-mm":
        chosen = _spaced(frames, float(amount or 0))
    elif selection.strategy == "key-objects":
        named = [f for f in frames if f.key in measures.key_frames]
        chosen = named if measures.key_frames else frames
    elif selection.strategy == "diverse":
        chosen = _diverse(frames, int(amount or 1), measures, preset)
    else:
        chosen = frames
    kept = {frame.key for frame in chosen}
    for frame in stack:
        if frame.key not in kept:
            reasons.setdefault(frame.key, Reason.FRAME_NOT_CHOSEN)
    return chosen, reasons


def k_centre(vectors: npt.NDArray[np.float32], count: int) -> list[int]:
    """Indices of `count` rows of (N, D) that cover the others best: greedy farthest point.

    Starts from the one nearest the mean. Cosine distance. Source: Gonzalez 1985, Clustering to minimize the maximum
    intercluster distance.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, 1)
    chosen = [int(np.argmax(units @ units.mean(axis=0)))]
    distance = 1 - units @ units[chosen[0]]
    while len(chosen) < min(count, len(units)):
        distance[chosen] = -1
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, 1 - units @ units[chosen[-1]])
    return sorted(chosen)


def _at(frames: Sequence[Frame], indices: Sequence[int]) -> list[Frame]:
    return [frames[index] for index in indices]


def _body(frames: list[Frame], measures: Measures) -> list[Frame]:
    """The frames between the first and the last that show more than air; all where none does."""
    if measures.content is None:
        raise SelectionError("the selection body looks at pixels, which this call cannot; use another")
    full = []
    for index, frame in enumerate(frames):
        try:
            content = measures.content(frame)
        except InstanceError:
            content = 1.0  # its reason is written down where it is rendered
        if content >= AIR_ONLY_CONTENT:
            full.append(index)
    return frames[full[0] : full[-1] + 1] if full else frames


def _spaced(frames: Sequence[Frame], least_mm: float) -> list[Frame]:
    if any(frame.position_mm is None for frame in frames):
        return list(frames)
    chosen: list[Frame] = []
    for frame in frames:
        last = chosen[-1].position_mm if chosen else None
        if last is None or (frame.position_mm or 0.0) - last >= least_mm * 0.99 - 0.001:  # positions are rounded
            chosen.append(frame)
    return chosen


def _diverse(frames: Sequence[Frame], count: int, measures: Measures, preset: str) -> list[Frame]:
    if len(frames) <= count:
        return list(frames)
    if measures.vectors is None:
        raise SelectionError("the selection diverse needs the model, which this call does not load; use another")
    return _at(frames, k_centre(measures.vectors(frames, preset), count))
