"""The plan of one study: pure, quick, and complete - every instance is planned or has its reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from dicom_pipeline.dicom.attributes import first_number, items_of, read_value, texts_of
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
from dicom_pipeline.planning.geometry import LocatedFrame, is_parallel, locate_frames, stacks_of
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.planning.kinds import exclusion_reason
from dicom_pipeline.planning.rules import RenderRule, Rules
from dicom_pipeline.planning.selection import Measures, Selection, choose, parse_selection

REFERENCE_FRAMES = 32
"""Frames, evenly over a series, that make its statistics."""

MAX_FRAMES_LISTED = 100_000
"""An instance that claims more frames is refused before one object a frame is made."""


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
    left_out: list[Excluded] = []
    candidates: list[tuple[list[Header], RenderRule, list[Excluded]]] = []
    for members in _by_series(ordered):
        pictures, refused = _pictures(members, rules)
        if not pictures:
            left_out.extend(refused)
            continue
        reason, rule = rules.exclusion_reason(pictures[0]), rules.render_rule(pictures[0])
        if reason is not None or rule is None:
            why = reason or Reason.MODALITY_NOT_CHOSEN
            left_out.extend([*refused, *(_left_out(h, why, "by rule") for h in pictures)])
            continue
        candidates.append((pictures, rule, refused))
    chosen, dropped = _chosen_series(candidates, rules)
    left_out.extend(dropped)
    series = tuple(_series_plan(p, rule, refused, fixed, preset, measures) for p, rule, refused in chosen)
    return Plan(ordered[0].study_instance_uid, series, tuple(left_out))


def account_of(plan: Plan, instances: Mapping[str, str]) -> Account:
    """What became of each instance of a revision (SOP Instance UID -> sha256), given its plan as carried out.

    An instance of which any frame is used is used; else it failed if any part of it failed; else it was skipped.
    One that the plan does not know at all is reported as unreadable rather than left uncounted. A file of other content
    under the same UID (CONTENT_CONFLICT) says nothing of the instance that was kept.
    """
    used = {frame.key.sop_instance_uid for frame in plan.frames}
    reasons: dict[str, Excluded] = {}
    for item in plan.all_left_out:
        if item.reason is Reason.CONTENT_CONFLICT:
            continue
        known = reasons.get(item.sop_instance_uid)
        if known is None or (known.reason.outcome is Outcome.SKIPPED and item.reason.outcome is Outcome.FAILED):
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


def _by_series(headers: Sequence[Header]) -> list[list[Header]]:
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.series_instance_uid].append(header)
    return sorted(groups.values(), key=lambda g: (g[0].number("SeriesNumber") or 0.0, g[0].series_instance_uid))


def _pictures(members: Sequence[Header], rules: Rules) -> tuple[list[Header], list[Excluded]]:
    pictures, refused = [], []
    for header in members:
        found = exclusion_reason(header, keep=rules.keep)
        if found is None and header.frames > MAX_FRAMES_LISTED:
            found = Reason.TOO_LARGE, f"{header.frames} frames"
        if found is None:
            pictures.append(header)
        else:
            refused.append(_left_out(header, *found))
    return pictures, refused


def _chosen_series(
    candidates: Sequence[tuple[list[Header], RenderRule, list[Excluded]]], rules: Rules
) -> tuple[list[tuple[list[Header], RenderRule, list[Excluded]]], list[Excluded]]:
    """The series that stay, by the study's caps, and the instances of the others."""
    kept = list(candidates)
    dropped: list[Excluded] = []
    if rules.one_of_several != "all":
        sign = 1 if rules.one_of_several == "thin" else -1
        best = {
            min(g, key=lambda i: (sign * (kept[i][0][0].number("SliceThickness") or 0.0), i))
            for g in _volumes([pictures[0] for pictures, _, _ in kept])
        }
        dropped += _drop(kept, set(range(len(kept))) - best, f"the {rules.one_of_several} series was preferred")
        kept = [c for i, c in enumerate(kept) if i in best]
    if len(kept) > rules.max_series:
        by_size = sorted(range(len(kept)), key=lambda i: (-sum(h.frames for h in kept[i][0]), i))
        stay = set(by_size[: rules.max_series])
        dropped += _drop(kept, set(range(len(kept))) - stay, f"more than {rules.max_series} series")
        kept = [c for i, c in enumerate(kept) if i in stay]
    return kept, dropped


def _drop(
    candidates: Sequence[tuple[list[Header], RenderRule, list[Excluded]]], indices: set[int], detail: str
) -> list[Excluded]:
    dropped = []
    for index in sorted(indices):
        pictures, _, refused = candidates[index]
        dropped += [*refused, *(_left_out(h, Reason.SERIES_NOT_CHOSEN, detail) for h in pictures)]
    return dropped


def _volumes(headers: Sequence[Header]) -> list[list[int]]:
    """Indices of series of one modality, frame of reference and orientation; one without geometry stands alone."""
    groups: list[list[int]] = []
    firsts = [locate_frames(header)[0] for header in headers]
    for index, (header, first) in enumerate(zip(headers, firsts, strict=True)):
        reference = header.text("FrameOfReferenceUID")
        alike = (
            group
            for group in groups
            if reference
            and first.orientation
            and (headers[group[0]].modality, headers[group[0]].text("FrameOfReferenceUID"))
            == (header.modality, reference)
            and is_parallel(firsts[group[0]], first)
        )
        group = next(alike, None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    return groups


def _series_plan(
    pictures: Sequence[Header],
    rule: RenderRule,
    refused: Sequence[Excluded],
    fixed: Selection | None,
    preset: str | None,
    measures: Measures,
) -> SeriesPlan:
    located: list[LocatedFrame] = [item for header in pictures for item in locate_frames(header)]
    groups, note = stacks_of(located)
    stacks = [stack for group in groups for stack in group]
    # else, of each orientation and matrix, the first of the stacks with the most frames
    chosen_stacks = stacks if rule.stacks == "all" else [max(group, key=len) for group in groups]
    selection = fixed or rule.selection
    frames: list[Frame] = []
    reasons: dict[FrameKey, Reason] = {f.key: Reason.STACK_NOT_CHOSEN for s in stacks for f in s}
    for stack in chosen_stacks:
        chosen, others = choose(stack, selection, measures, preset or rule.preset)
        frames += chosen
        for frame in stack:
            del reasons[frame.key]
        reasons |= others
    pool = [frame for stack in chosen_stacks for frame in stack]
    step = np.unique(np.linspace(0, len(pool) - 1, min(len(pool), REFERENCE_FRAMES)).round().astype(int))
    first = pictures[0]
    return SeriesPlan(
        series_instance_uid=first.series_instance_uid,
        modality=first.modality,
        description=first.text("SeriesDescription"),
        preset=preset or rule.preset,
        selection=str(selection),
        frames=tuple(frames),
        left_out=(*refused, *_unused(pictures, reasons, {f.key.sop_instance_uid for f in frames})),
        reference_frames=tuple(pool[i] for i in step),
        body_part=first.text("BodyPartExamined"),
        order_note=note,
    )


def _unused(pictures: Sequence[Header], reasons: Mapping[FrameKey, Reason], used: set[str]) -> list[Excluded]:
    """One Excluded an instance that is not used at all, one a frame of instances that are used in part."""
    items = []
    by_instance: dict[str, list[tuple[FrameKey, Reason]]] = defaultdict(list)
    for key, reason in sorted(reasons.items()):
        by_instance[key.sop_instance_uid].append((key, reason))
    for header in pictures:
        unused = by_instance.get(header.sop_instance_uid, [])
        if header.sop_instance_uid in used:
            items += [replace(_left_out(header, reason), frame=key.frame) for key, reason in unused]
        elif unused:
            items.append(_left_out(header, unused[0][1]))
    return items


def _left_out(header: Header, reason: Reason, detail: str = "") -> Excluded:
    return Excluded(reason, header.path, header.sop_instance_uid, header.series_instance_uid, detail=detail)


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
