"""Which stacks of a series are used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicom_pipeline.planning.geometry import Stack


@dataclass(slots=True)
class StackChoice:
    """chosen: the stacks that are used; others: the rest, each with why; notes: what the plan tells of the choice."""

    chosen: list[Stack] = field(default_factory=list)
    others: list[tuple[Stack, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, more: StackChoice) -> None:
        """Add the choice among other stacks."""
        self.chosen += more.chosen
        self.others += more.others
        self.notes += more.notes


def choose_stacks(stacks: Sequence[Stack], rule: str, *, prefer_axial: bool) -> StackChoice:
    """The stacks of a series that a rule takes, in their order.

    rule: "all", or "first": of each orientation and matrix, the first of the stacks with the most frames. prefer_axial: leave
    out other planes where there is an axial stack.
    """
    choice, remaining = StackChoice(), list(stacks)
    if prefer_axial and any(stack.plane == "axial" for stack in stacks):
        detail = "an axial stack of the series is preferred"
        choice.others += [(stack, f"{stack.plane}: {detail}") for stack in stacks if stack.plane not in ("axial", "")]
        remaining = [stack for stack in stacks if stack.plane in ("axial", "")]
    if rule == "all":
        choice.chosen += remaining
        return choice
    groups: dict[int, list[Stack]] = defaultdict(list)
    for stack in remaining:
        groups[stack.group].append(stack)
    for group in groups.values():
        choice.add(_first(group))
    return choice


def _first(group: Sequence[Stack]) -> StackChoice:
    best = max(group, key=lambda stack: len(stack.located))
    return StackChoice([best], [(stack, "") for stack in group if stack is not best])
