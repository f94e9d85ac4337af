"""Which of a label set's labels score which images, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicom_pipeline.domain import Frame, ImageTraits, Label, LabelSet
from dicom_pipeline.scoring.conditions import applies, conditions_text, reason_against


@dataclass(frozen=True, slots=True)
class Applicability:
    """What a label set is to one series.

    labels: those that score at least one of its used frames, in the set's order. reasons: why the set, or some of its
    labels, are not for some of the frames; empty where every label scores every frame.
    """

    label_set: str
    labels: tuple[str, ...]
    reasons: tuple[str, ...] = ()


def labels_for(label_set: LabelSet, traits: ImageTraits | None) -> tuple[Label, ...]:
    """The labels that apply to an image; all of them where nothing is known of it."""
    if traits is None:
        return label_set.labels
    if not applies(label_set.applies_to, traits):
        return ()
    return tuple(label for label in label_set.labels if _label_applies(label, traits))


def applicability(label_set: LabelSet, frames: Iterable[Frame]) -> Applicability:
    """What a label set is to the used frames of a series."""
    distinct = tuple(dict.fromkeys(frame.traits for frame in frames))
    scored = {label.name for traits in distinct for label in labels_for(label_set, traits)}
    reasons: dict[str, None] = {}
    for traits in distinct:
        if traits is not None:
            reasons |= dict.fromkeys(_reasons(label_set, traits))
    return Applicability(
        label_set.name, tuple(label.name for label in label_set.labels if label.name in scored), tuple(reasons)
    )


def scope_of(label_set: LabelSet) -> str:
    """What a label set as a whole applies to, for a person."""
    modalities = sorted({modality for label in label_set.labels for modality in label.modalities})
    whole = conditions_text(label_set.applies_to)
    if whole or not modalities or not all(label.modalities for label in label_set.labels):
        return whole or "every image"
    return f"modality {' or '.join(modalities)}"


def _label_applies(label: Label, traits: ImageTraits) -> bool:
    return (not label.modalities or traits.modality in label.modalities) and applies(label.applies_to, traits)


def _reasons(label_set: LabelSet, traits: ImageTraits) -> Sequence[str]:
    """Why the set is not for an image, or else which of its labels are not, those of one reason together."""
    if whole := reason_against(label_set.applies_to, traits):
        return [whole]
    without: dict[str, list[str]] = {}
    for label in label_set.labels:
        if not _label_applies(label, traits):
            without.setdefault(_reason(label, traits), []).append(label.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in without.items()]


def _reason(label: Label, traits: ImageTraits) -> str:
    if label.modalities and traits.modality not in label.modalities:
        return f"modality {traits.modality or 'not stated'}, expected {' or '.join(label.modalities)}"
    return reason_against(label.applies_to, traits)
