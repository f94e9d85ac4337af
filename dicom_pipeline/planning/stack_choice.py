"""Which stacks of a series are used, by what they show.

all            every stack
first          of each orientation and matrix, the first of the stacks with the most frames
each-contrast  of each orientation and matrix, one stack for each b-value class, echo and phase; magnitude before phase
               images, the trace before single directions
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from dicom_pipeline.dicom.attributes import first_number
from dicom_pipeline.domain import Reason
from dicom_pipeline.planning.geometry import LocatedFrame
from dicom_pipeline.planning.recognition.contrasts import b_value, component, echo, image_type_reason, is_trace
from dicom_pipeline.planning.stacks import Stack

EACH_CONTRAST = "each-contrast"
STACKS = (EACH_CONTRAST, "first", "all")

MAX_B_CLASSES = 4
"""Of more b-value classes (IVIM, q-space) the lowest and the highest are used."""

MAX_ECHOES = 4
"""Of more echoes (T2 mapping) the first and the last are used."""

MAX_PHASES = 6
"""Of more phases (fMRI, perfusion, cine, gated CT) the first is used; a dynamic liver MR has five."""

SAME_B_VALUE = 0.1
LOWEST_B_CLASS = 25.0
"""b-values within this share, or below 25 s/mm2 of one another, are one class: scanners state what each direction had."""

COMPLETE = 0.5
"""A stack with less than this share of the most frames of its contrast is a broken off or partial one."""

COMPONENTS = ("magnitude", "", "real", "phase", "imaginary")
"""Components of the complex image, the best first; an image that does not say is a magnitude image."""


MAPS = (Reason.ADC_MAP, Reason.DERIVED)


@dataclass(slots=True)
class StackChoice:
    """chosen: the stacks that are used; others: the rest, each with why; notes: what the plan tells of the choice."""

    chosen: list[Stack] = field(default_factory=list)
    others: list[tuple[Stack, Reason, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave(self, stacks: Iterable[Stack], detail: str) -> None:
        """Leave out stacks that were not chosen."""
        self.others += [(stack, Reason.STACK_NOT_CHOSEN, detail) for stack in stacks]

    def keep(self, stacks: Iterable[Stack], chosen: Sequence[Stack], detail: str) -> None:
        """Use some of the stacks and leave out the rest."""
        self.chosen += chosen
        numbers = {stack.number for stack in chosen}
        self.leave((stack for stack in stacks if stack.number not in numbers), detail)


@dataclass(frozen=True, slots=True)
class Contrast:
    """What the frames of a stack show, as most of three of them say. map_word: the word of Image Type that makes it a map."""

    stack: Stack
    component: str
    b_value: float | None
    is_trace: bool
    echo: str
    map_word: str

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """The contrast of a stack."""
        frames = [stack.located[i] for i in sorted({0, len(stack.located) // 2, len(stack.located) - 1})]
        return cls(
            stack=stack,
            component=_usual(component(frame) for frame in frames),
            b_value=_usual(b_value(frame) for frame in frames),
            is_trace=_usual(is_trace(frame) for frame in frames),
            echo=_usual(echo(frame) for frame in frames),
            map_word=_usual(_map_word(frame) for frame in frames),
        )


def choose_stacks(stacks: Sequence[Stack], rule: str, *, keep: frozenset[Reason], prefer_axial: bool) -> StackChoice:
    """The stacks of a series that a rule (STACKS) takes, in their order.

    keep: reasons for which no map is left out. prefer_axial: leave out other planes where there is an axial stack.
    """
    choice = StackChoice()
    remaining = _without_maps(stacks, keep, choice)
    if prefer_axial and any(stack.plane == "axial" for stack in remaining):
        for stack in (stack for stack in remaining if stack.plane not in ("axial", "")):
            choice.leave([stack], f"{stack.plane}: an axial stack of the series is preferred")
        remaining = [stack for stack in remaining if stack.plane in ("axial", "")]
    for group in _grouped(remaining, lambda stack: stack.group).values():
        if rule == "all" or len(group) == 1:
            choice.chosen += group
        elif rule == "first":
            choice.keep(group, [_best(group)], "")
        else:
            _each_contrast([Contrast.of(stack) for stack in group], choice)
    choice.chosen.sort(key=lambda stack: stack.number)
    choice.notes = list(dict.fromkeys(choice.notes))
    return choice


def _without_maps(stacks: Sequence[Stack], keep: frozenset[Reason], choice: StackChoice) -> list[Stack]:
    """The stacks without maps among the frames of an enhanced object, whose instance does not say it for all of them."""
    pictures = []
    for stack in stacks:
        found = image_type_reason(stack.located[0]) if stack.located[0].value("FrameType") else None
        if found is None or found[0] in keep or found[0] not in MAPS:
            pictures.append(stack)
        else:
            choice.others.append((stack, *found))
    return pictures


def _map_word(frame: LocatedFrame) -> str:
    found = image_type_reason(frame)
    return found[1] if found is not None and found[0] in MAPS else ""


def _each_contrast(group: Sequence[Contrast], choice: StackChoice) -> None:
    for word, maps in _grouped([c for c in group if c.map_word], lambda c: c.map_word).items():
        choice.keep([c.stack for c in maps], [_best([c.stack for c in maps])], f"{word}: another map is used")
        choice.notes.append(f"a map by rule ({word})")
    pictures = _best_component([c for c in group if not c.map_word], choice)
    weights = {c.b_value for c in pictures if c.b_value is not None}
    is_diffusion = len(weights) > 1 or any(weights)
    diffusion = [c for c in pictures if is_diffusion and c.b_value is not None]
    _diffusion(diffusion, choice)
    _echoes_and_phases([c for c in pictures if not is_diffusion or c.b_value is None], choice)


def _best_component(group: Sequence[Contrast], choice: StackChoice) -> list[Contrast]:
    """The magnitude images, or the best that there are; the others are left out."""
    best = min((c.component for c in group), key=COMPONENTS.index, default="")
    wanted = ("magnitude", "") if best in ("magnitude", "") else (best,)
    remaining = [c for c in group if c.component in wanted]
    for other in (c for c in group if c.component not in wanted):
        choice.leave([other.stack], f"{other.component} image: the {best or 'magnitude'} image is used")
    if len(remaining) < len(group):
        choice.notes.append(f"{best or 'magnitude'} images only: {len(remaining)} of {len(group)} stacks")
    return remaining


def _diffusion(stacks: Sequence[Contrast], choice: StackChoice) -> None:
    """One stack for each b-value class: the trace before a single direction."""
    if not stacks:
        return
    classes = b_value_classes(c.b_value for c in stacks if c.b_value is not None)
    used = set(range(len(classes))) if len(classes) <= MAX_B_CLASSES else {0, len(classes) - 1}
    told = []
    for number, values in enumerate(classes):
        members = [c for c in stacks if c.b_value in values]
        name = f"b {min(values):.0f}" if len(values) == 1 else f"b {min(values):.0f} to {max(values):.0f}"
        if number not in used:
            detail = f"{name}: of {len(classes)} b-value classes the lowest and the highest are used"
            choice.leave((c.stack for c in members), detail)
            continue
        traces = [c.stack for c in members if c.is_trace]
        best = _best(traces or [c.stack for c in members])
        choice.keep((c.stack for c in members), [best], f"{name}: another stack of this b-value is used")
        told.append(f"{name} (trace)" if traces else name)
    choice.notes.append(f"diffusion: {', '.join(told)} of {len(stacks)} stacks")


def b_value_classes(values: Iterable[float]) -> list[set[float]]:
    """b-values that mean the same, from the lowest: within a tenth, or 25 s/mm2, of the lowest of their class."""
    classes: list[set[float]] = []
    for value in sorted(values):
        if classes and value - min(classes[-1]) <= max(LOWEST_B_CLASS, SAME_B_VALUE * min(classes[-1])):
            classes[-1].add(value)
        else:
            classes.append({value})
    return classes


def _echoes_and_phases(stacks: Sequence[Contrast], choice: StackChoice) -> None:
    """One stack for each echo and phase; of many, those that stand for the others."""
    echoes = sorted(_grouped(stacks, lambda c: c.echo).items(), key=lambda item: _leading_number(item[0]))
    used = {name for name, _ in echoes}
    if len(echoes) > MAX_ECHOES:
        used = {echoes[0][0], echoes[-1][0]}
        choice.notes.append(f"of {len(echoes)} echoes the first and the last are used")
    elif len(echoes) > 1:
        choice.notes.append(f"echoes: {', '.join(name or 'one without a time' for name, _ in echoes)}")
    for name, members in echoes:
        if name in used:
            _phases([c.stack for c in members], choice)
        else:
            detail = f"echo {name}: of {len(echoes)} echoes the first and the last are used"
            choice.leave((c.stack for c in members), detail)


def _leading_number(name: str) -> float:
    number = first_number(name.partition(" ")[0] or None)
    return float("inf") if number is None else number


def _phases(stacks: Sequence[Stack], choice: StackChoice) -> None:
    """Every phase of a few; of many, the first of those with the most frames."""
    most = max(len(stack.located) for stack in stacks)
    whole = [stack for stack in stacks if stack.repeats == 0 and len(stack.located) >= COMPLETE * most]
    if not 1 <= len(whole) <= MAX_PHASES:
        choice.notes.append(f"of {len(stacks)} phases one is used")
        choice.keep(stacks, [_best(stacks)], f"one of {len(stacks)} phases of the same contrast is used")
        return
    if len(whole) > 1:
        choice.notes.append(f"{len(whole)} phases are used")
    choice.chosen += whole
    numbers = {stack.number for stack in whole}
    for stack in (stack for stack in stacks if stack.number not in numbers):
        few = f"has {len(stack.located)} of {most} slices"
        choice.leave([stack], "repeats a stack that is used" if stack.repeats else few)


def _best(stacks: Sequence[Stack]) -> Stack:
    """The first of the stacks with the most frames."""
    return max(stacks, key=lambda stack: len(stack.located))


T = TypeVar("T")
K = TypeVar("K")


def _usual(values: Iterable[T]) -> T:
    """The most frequent value; the first of those that are equally frequent."""
    return Counter(values).most_common(1)[0][0]


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
