"""What is done with a study: its plan, its scores, and everything that can change a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from dicom_pipeline.domain.outcome import Excluded
from dicom_pipeline.domain.study import Frame, FrameKey


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """What will be done with one series.

    frames: the frames to encode, in the order along the stack.
    reference_frames: frames whose values make statistics over each stack, for presets that need them: about 32, evenly
        over the stacks that are used, whatever the selection.
    order_note: how the frames were ordered, in words, where it was not by plain geometry.
    choice_note: why this series or these of its stacks were chosen, in words, where there was a choice.
    label_sets: names of the label sets that a rule chose for it; None where no rule did, then the settings' ones score it.
    """

    series_instance_uid: str
    modality: str
    description: str
    preset: str
    selection: str
    frames: tuple[Frame, ...]
    excluded: tuple[Excluded, ...] = ()
    reference_frames: tuple[Frame, ...] = ()
    body_part: str = ""
    order_note: str = ""
    choice_note: str = ""
    label_sets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done with one study before any model runs.

    excluded holds what belongs to no planned series; instances of planned series stand in `SeriesPlan.excluded`.
    """

    study_instance_uid: str
    series: tuple[SeriesPlan, ...]
    excluded: tuple[Excluded, ...] = ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame to encode, series by series."""
        return tuple(frame for series in self.series for frame in series.frames)

    @property
    def all_excluded(self) -> tuple[Excluded, ...]:
        """Everything that is not used, series by series, then the rest."""
        return tuple(item for series in self.series for item in series.excluded) + self.excluded


class ScoreKind(StrEnum):
    """What a score's number means; kinds are never mixed in one column."""

    ZERO_SHOT_SIGMOID = "zero-shot-sigmoid"
    ZERO_SHOT_PAIR = "zero-shot-pair"
    PROBE_PROBABILITY = "probe-probability"


class Domain(StrEnum):
    """Whether a frame looks like those that a model is known for, by the reference of its checkpoint."""

    IN = "in-domain"
    OUT = "out-of-domain"


@dataclass(frozen=True, slots=True)
class FrameDomain:
    """What the reference says of a frame.

    distance: of its embedding, as a multiple of the reference's limit (its 99.9th percentile); None where the model was not
    made for the preset at all.
    """

    domain: Domain
    distance: float | None


class Derivation(StrEnum):
    """How a series score was made of its frame scores."""

    MAX = "max"
    MEAN = "mean"
    TOP_K_MEAN = "top-k-mean"


@dataclass(frozen=True, slots=True)
class Score:
    """A number in 0..1 for one label.

    Of a frame: derivation is None and frame names it. Of a series: derivation says how the frame scores were aggregated
    and frame names the frame with the highest score.
    """

    label: str
    value: float
    kind: ScoreKind
    series_instance_uid: str
    frame: FrameKey
    derivation: Derivation | None = None


def score_text(value: float, digits: int = 3) -> str:
    """A score for a person: so many digits after the point; below that, the digits that count (0.0044, 4.4e-07).

    Only for reading: files and messages hold the number itself.
    """
    small = value > 0 and round(value, digits) < 10.0 ** (1 - digits)
    return f"{value:.{digits - 1}g}" if small else f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that can change a number or a byte of one study's results, by name; its sha256 is the fingerprint.

    Made by a recipe (pipeline/recipe.py) for a plan. presets: name -> digest of each preset that the plan uses.
    software: our name and version. build: sha256 over our code and data. versions: name -> version of each library that
    decodes or computes. extra: further settings. notice: a sentence that must stand wherever the scores are shown, or empty.
    """

    encoder: str
    weights: str
    precision: str
    presets: Mapping[str, str]
    selection: str
    label_set: str
    label_set_digest: str
    software: str
    build: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""

    @property
    def fingerprint(self) -> str:
        """Sha256 (hex) over the canonical JSON of all fields."""
        return digest_of({field.name: _plain(getattr(self, field.name)) for field in fields(self)})


def _plain(value: str | Mapping[str, str]) -> str | dict[str, str]:
    return value if isinstance(value, str) else dict(value)


def digest_of(value: Any) -> str:
    """Sha256 (hex) of a JSON-like value in canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def embedding_space(weights: str, preset_digest: str) -> str:
    """Names what makes two embeddings comparable: the encoder's weights and the rendering preset, by their sha256."""
    return digest_of([weights, preset_digest])[:32]
