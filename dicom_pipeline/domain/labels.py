"""Labels: what is scored, under which code, and which images it applies to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dicom_pipeline.domain.processing import ScoreKind, digest_of


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, scheme designator, meaning (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What one trait of an image must be: one of several values, a pattern found in it, or a number in a range.

    trait: a field of ImageTraits. values: compared without case; "" stands for a trait that is not stated. pattern: a regular
    expression, searched. minimum, maximum: inclusive. unknown: whether a range takes an image that does not state the trait.
    """

    trait: str
    values: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    unknown: bool = False


AppliesTo = tuple[tuple[Condition, ...], ...]
"""Alternatives, of which one must hold; of an alternative every condition. None at all: applies to every image."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a label set.

    positive, negative: prompts; several of one side are averaged as an ensemble. negative may be empty where only
        zero-shot-sigmoid is wanted.
    modalities: DICOM modalities it applies to; empty means all. applies_to: further conditions.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    code: Code | None = None
    site: Code | None = None
    modalities: tuple[str, ...] = ()
    threshold: float | None = None
    applies_to: AppliesTo = ()


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A versioned file of labels. applies_to: which images it is for as a whole; a label may narrow that down."""

    name: str
    version: str
    labels: tuple[Label, ...]
    kind: ScoreKind
    source: str = ""
    licence: str = ""
    applies_to: AppliesTo = ()

    @property
    def digest(self) -> str:
        """Sha256 (hex) of what it says."""
        return digest_of(asdict(self))
