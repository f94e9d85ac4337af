"""The plan of one study: pure, quick, and complete - every instance is planned or has its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import first_number, items_of, read_value, texts_of
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import (
    Account,
    Excluded,
    Frame,
    FrameKey,
    Outcome,
    Plan,
    Reason,
    SeriesPlan,
)
from dicom_pipeline.planning.candidates import Candidate, candidates_of
from dicom_pipeline.planning.geometry import locate_frames
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.rules import Rules
from dicom_pipeline.planning.selection import Measures, Selection, choose, parse_selection
from dicom_pipeline.planning.series_choice import choose_series, with_preset
from dicom_pipeline.planning.stack_choice import choose_stacks
from dicom_pipeline.planning.stacks import stacks_of
from dicom_pipeline.planning.traits import traits_of

REFERENCE_FRAMES = 32
"""Frames, evenly over the stacks of a series, that make its statistics."""

MIN_REFERENCE_FRAMES = 4
"""Frames of each of many stacks: each has statistics of its own, since b 0 is many times as bright as b 1000."""


def plan_study(
    headers: Sequence[Header],
    rules: Rules,
    *,
    selection: str | None = None,
    preset: str | None = None,
    content: Callable[[Frame], float] | None = None,
    vectors: Callable[[Sequence[Frame], str], npt.NDArray[np.float32]] | None = None,
) -> Plan:
    """The plan of the instances of one study; their order in `headers` does not matter.

    selection, preset: one choice for every series instead of the rule table's. content, vectors: measures of frames for
    the strategies that look at pixels or embeddings. Raises SelectionError.
    """
    if not headers:
        raise ValueError("a plan needs at least one instance")
    ordered = sorted(headers, key=lambda h: h.sop_instance_uid)
    measures = Measures(content, vectors, _named_frames(ordered))
    fixed = parse_selection(selection) if selection else None
    with suppress_warnings():  # once: each attribute that is read would silence and unsilence pydicom anew
        candidates, excluded = candidates_of(ordered, rules)
        chosen, dropped = choose_series(candidates, rules)
    series = [_series_plan(candidate, rules, fixed, preset, measures) for candidate in chosen]
    unused = [item for one in series if not one.frames for item in one.excluded]
    used = tuple(one for one in series if one.frames)
    return Plan(ordered[0].study_instance_uid, used, (*excluded, *dropped, *unused))


def account_of(plan: Plan, instances: Mapping[str, str]) -> Account:
    """What became of each instance of a revision (SOP Instance UID -> sha256), given its plan as carried out.

    An instance of which any frame is used is used; else it failed if any part of it failed; else it was excluded.
    One that the plan does not know at all is reported as unreadable rather than left uncounted. A file of other content
    under the same UID (CONTENT_CONFLICT) says nothing of the instance that was kept.
    """
    used = {frame.key.sop_instance_uid for frame in plan.frames}
    reasons: dict[str, Excluded] = {}
    for item in plan.all_excluded:
        if item.reason is Reason.CONTENT_CONFLICT:
            continue
        known = reasons.get(item.sop_instance_uid)
        if known is None or (known.reason.outcome is Outcome.EXCLUDED and item.reason.outcome is Outcome.FAILED):
            reasons[item.sop_instance_uid] = item
    outcomes: dict[str, tuple[Outcome, Reason | None, str]] = {}
    for uid in instances:
        if uid in used:
            outcomes[uid] = (Outcome.USED, None, "")
        elif uid in reasons:
            outcomes[uid] = (reasons[uid].reason.outcome, reasons[uid].reason, reasons[uid].detail)
        else:
            outcomes[uid] = (Outcome.FAILED, Reason.UNREADABLE, "not in the plan")
    return Account(outcomes)


def _series_plan(
    candidate: Candidate, rules: Rules, fixed: Selection | None, preset: str | None, measures: Measures
) -> SeriesPlan:
    with suppress_warnings():
        candidate, preset = with_preset(candidate, preset or candidate.rule.preset)
        rule, first = candidate.rule, candidate.first
        stacks, order_note = stacks_of([item for header in candidate.pictures for item in locate_frames(header)])
        choice = choose_stacks(stacks, rule.stacks, keep=rules.keep, prefer_axial=candidate.prefer_axial)
    selection = fixed or rule.selection
    frames: list[Frame] = []
    reasons: dict[FrameKey, tuple[Reason, str]] = {
        frame.key: (reason, detail) for stack, reason, detail in choice.others for frame in stack.frames
    }
    for stack in choice.chosen:
        chosen, others = choose(stack.frames, selection, measures, preset)
        frames += chosen
        reasons |= {key: (reason, "") for key, reason in others.items()}
    used = {frame.key.sop_instance_uid for frame in frames}
    return SeriesPlan(
        series_instance_uid=first.series_instance_uid,
        modality=first.modality,
        description=first.text("SeriesDescription"),
        preset=preset,
        selection=str(selection),
        frames=_with_traits(frames, candidate.pictures),
        excluded=(*candidate.refused, *_unused(candidate.pictures, reasons, used)),
        reference_frames=_reference_frames([stack.frames for stack in choice.chosen]),
        body_part=first.text("BodyPartExamined"),
        order_note=order_note,
        choice_note="; ".join((*candidate.notes, *choice.notes)),
        label_sets=rules.label_sets_for(first),
    )


def _with_traits(frames: Sequence[Frame], pictures: Sequence[Header]) -> tuple[Frame, ...]:
    """The frames with what their images say of themselves; a radiograph's views may lie in one series."""
    used = {frame.key.sop_instance_uid for frame in frames}
    with suppress_warnings():
        traits = {h.sop_instance_uid: traits_of(h) for h in pictures if h.sop_instance_uid in used}
    return tuple(replace(frame, traits=traits[frame.key.sop_instance_uid]) for frame in frames)


def _reference_frames(stacks: Sequence[Sequence[Frame]]) -> tuple[Frame, ...]:
    """Frames evenly over each stack, REFERENCE_FRAMES in all, and some of each stack where there are many."""
    each = max(MIN_REFERENCE_FRAMES, REFERENCE_FRAMES // max(1, len(stacks)))
    evenly = (np.unique(np.linspace(0, len(s) - 1, min(len(s), each)).round().astype(int)) for s in stacks)
    return tuple(stack[i] for stack, indices in zip(stacks, evenly, strict=True) for i in indices)


def _unused(
    pictures: Sequence[Header], reasons: Mapping[FrameKey, tuple[Reason, str]], used: set[str]
) -> list[Excluded]:
    """One Excluded an instance that is not used at all, one a frame of instances that are used in part."""
    items = []
    by_instance: dict[str, list[FrameKey]] = defaultdict(list)
    for key in sorted(reasons):
        by_instance[key.sop_instance_uid].append(key)
    for header in pictures:
        unused = by_instance.get(header.sop_instance_uid, [])
        if header.sop_instance_uid in used:
            items += [header.excluded(*reasons[key], frame=key.frame) for key in unused]
        elif unused:
            items.append(header.excluded(*reasons[unused[0]]))
    return items


def _named_frames(headers: Sequence[Header]) -> frozenset[FrameKey]:
    """Frames that key objects (modality KO) and presentation states (PR) of the study reference."""
    named: set[FrameKey] = set()
    for header in headers:
        if header.modality in ("KO", "PR"):
            for sequence in ("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence"):
                for item in items_of(header.dataset, sequence):
                    named |= _referenced(item)
    return frozenset(named)


def _referenced(item: Dataset) -> set[FrameKey]:
    found: set[FrameKey] = set()
    for each in (item, *items_of(item, "ReferencedSeriesSequence")):
        for sequence in ("ReferencedSOPSequence", "ReferencedImageSequence"):
            for reference in items_of(each, sequence):
                uid = str(read_value(reference, "ReferencedSOPInstanceUID") or "")
                numbers = (first_number(text) for text in texts_of(reference, "ReferencedFrameNumber") or ["1"])
                found |= {FrameKey(uid, int(number)) for number in numbers if number is not None}
    return found
