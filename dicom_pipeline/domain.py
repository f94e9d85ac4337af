"""The words of this system as frozen values; see docs/glossary.md. Numpy and nothing of ours.

UIDs are plain strings. Frame numbers count from 1, as in DICOM (PS3.3 C.7.6.6). Times are aware datetimes in UTC.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

IMAGE_SIZE = 448
"""Rows and columns of every rendering, the input size of MedSigLIP."""

Pixels = npt.NDArray[np.uint8]
"""uint8 array of shape (448, 448, 3): one rendering."""

Vector = npt.NDArray[np.float32]
"""float32 array of shape (D,): one embedding as the model gave it, not normalised."""


class Outcome(StrEnum):
    """What became of an instance in a revision; every instance has exactly one."""

    USED = "used"
    SKIPPED = "skipped"
    FAILED = "failed"


class Reason(StrEnum):
    """Why an instance or frame was not used. `sentence` says it to a person, `outcome` says skipped or failed."""

    sentence: str
    outcome: Outcome

    def __new__(cls, code: str, outcome: Outcome, sentence: str) -> Self:
        """A member is its code; outcome and sentence ride along."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.outcome = outcome
        member.sentence = sentence
        return member

    @classmethod
    def of(cls, code: str) -> Reason:
        """The member with a code. Raises KeyError where there is none."""
        return {member.value: member for member in cls}[code]

    # fmt: off
    NOT_AN_IMAGE = "not-an-image", Outcome.SKIPPED, "holds no image to look at (a report, presentation state, key object, waveform, document, plan)"
    NOT_FOR_DISPLAY = "not-for-display", Outcome.SKIPPED, "holds pixels that are not a picture of the patient (a segmentation, dose grid, raw data)"
    OWN_OBJECT = "own-object", Outcome.SKIPPED, "was made by this pipeline"
    LOCALIZER = "localizer", Outcome.SKIPPED, "is a localizer (scout), not part of the stack"
    DOSE_PAGE = "dose-page", Outcome.SKIPPED, "is a dose, protocol or patient page, not an image of the body"
    SECONDARY_CAPTURE = "secondary-capture", Outcome.SKIPPED, "is a secondary capture or screen shot"
    DERIVED = "derived", Outcome.SKIPPED, "is derived from other images (projection, map, subtraction)"
    REFORMAT = "reformat", Outcome.SKIPPED, "is a reformat of another series of the study"
    MODALITY_NOT_CHOSEN = "modality-not-chosen", Outcome.SKIPPED, "no rule takes this modality or SOP class"
    SERIES_NOT_CHOSEN = "series-not-chosen", Outcome.SKIPPED, "the series rules preferred another series or left this one out"
    STACK_NOT_CHOSEN = "stack-not-chosen", Outcome.SKIPPED, "belongs to a stack (echo, phase, time point, orientation) that was not chosen"
    FRAME_NOT_CHOSEN = "frame-not-chosen", Outcome.SKIPPED, "the selection chose other frames of its stack"
    AIR_ONLY = "air-only", Outcome.SKIPPED, "shows air only"
    SAME_POSITION = "same-position", Outcome.SKIPPED, "another frame at the same position is used"
    MOSAIC = "mosaic", Outcome.SKIPPED, "is a mosaic of many slices in one image"
    DUPLICATE = "duplicate", Outcome.SKIPPED, "is the same instance as another input file"
    CONTENT_CONFLICT = "content-conflict", Outcome.FAILED, "has the UID of an instance that came earlier with other content; kept apart"
    UNREADABLE = "unreadable", Outcome.FAILED, "cannot be read as DICOM"
    MISSING_UID = "missing-uid", Outcome.FAILED, "lacks a valid study, series or SOP Instance UID"
    NO_PIXEL_DATA = "no-pixel-data", Outcome.FAILED, "is an image object without pixel data"
    MISSING_ATTRIBUTE = "missing-attribute", Outcome.FAILED, "lacks an attribute that is needed to read its pixels"
    INVALID_ATTRIBUTE = "invalid-attribute", Outcome.FAILED, "has an attribute value that cannot be right"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported-transfer-syntax", Outcome.FAILED, "is compressed in a way that no installed decoder reads"
    UNSUPPORTED_PIXEL_FORMAT = "unsupported-pixel-format", Outcome.FAILED, "has a pixel format that no preset renders"
    TRUNCATED = "truncated", Outcome.FAILED, "has less pixel data than its attributes promise"
    DECODE_FAILED = "decode-failed", Outcome.FAILED, "has pixel data that its decoder refuses"
    TOO_LARGE = "too-large", Outcome.FAILED, "asks for more memory than the limits allow"
    RENDER_FAILED = "render-failed", Outcome.FAILED, "could not be rendered with its preset"
    ENCODE_FAILED = "encode-failed", Outcome.FAILED, "could not be encoded"
    REPORT_FAILED = "report-failed", Outcome.FAILED, "was encoded, but no valid report could be made of its study"
    CRASHED_WORKER = "crashed-worker", Outcome.FAILED, "was being processed each time the worker died"
    CLEANED = "cleaned", Outcome.FAILED, "was cleaned from the spool after an earlier report was delivered; it must be sent again"
    DISCARDED = "discarded", Outcome.SKIPPED, "belongs to a study that was not complete in time, which a completion rule discards"
    # fmt: on


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """Names one frame anywhere: SOP Instance UID and frame number (from 1)."""

    sop_instance_uid: str
    frame: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that is, or could be, an input of the model, with where it lies.

    position_mm: distance along the slice normal in mm, None where the geometry is missing.
    stack: which stack of its series (orientation, echo, time point ...) it belongs to, from 0.
    """

    key: FrameKey
    path: Path
    series_instance_uid: str
    position_mm: float | None = None
    stack: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance (frame None) or one frame of it that is not used, and why."""

    reason: Reason
    path: Path
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    frame: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """What will be done with one series.

    frames: the frames to encode, in the order along the stack.
    reference_frames: frames whose values make statistics over the series (at most 32, even over the whole series,
        whatever the selection), for presets that need them.
    order_note: how the frames were ordered, in words, where it was not by plain geometry.
    """

    series_instance_uid: str
    modality: str
    description: str
    preset: str
    selection: str
    frames: tuple[Frame, ...]
    left_out: tuple[LeftOut, ...] = ()
    reference_frames: tuple[Frame, ...] = ()
    body_part: str = ""
    order_note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done with one study before any model runs.

    left_out holds what belongs to no planned series; instances of planned series stand in `SeriesPlan.left_out`.
    """

    study_instance_uid: str
    series: tuple[SeriesPlan, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame to encode, series by series."""
        return tuple(frame for series in self.series for frame in series.frames)

    @property
    def all_left_out(self) -> tuple[LeftOut, ...]:
        """Everything that is not used, series by series, then the rest."""
        return tuple(item for series in self.series for item in series.left_out) + self.left_out


@dataclass(frozen=True, slots=True)
class Rendering:
    """The pixels that the encoder gets for one frame: uint8 array (448, 448, 3)."""

    frame: Frame
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one frame: float32 array (D,), not normalised."""

    frame: Frame
    vector: Vector


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, scheme designator, meaning (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a label set.

    positive, negative: prompts; several of one side are averaged as an ensemble. negative may be empty where only
        zero-shot-sigmoid is wanted.
    modalities: DICOM modalities it applies to; empty means all.
    """

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    code: Code | None = None
    site: Code | None = None
    modalities: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A versioned file of labels. digest is the sha256 of what it says, comments aside."""

    name: str
    version: str
    labels: tuple[Label, ...]
    kind: ScoreKind
    source: str = ""
    licence: str = ""
    digest: str = ""


class ScoreKind(StrEnum):
    """What a score's number means; kinds are never mixed in one column."""

    ZERO_SHOT_SIGMOID = "zero-shot-sigmoid"
    ZERO_SHOT_PAIR = "zero-shot-pair"
    PROBE_PROBABILITY = "probe-probability"


class Derivation(StrEnum):
    """How a series score was made of its frame scores."""

    MAX = "max"
    MEAN = "mean"
    TOP_K_MEAN = "top-k-mean"


@dataclass(frozen=True, slots=True)
class Score:
    """A number in 0..1 for one label.

    Of a frame: derivation is None and frame names it. Of a series: derivation says how the frame scores were joined
    and frame names the frame with the highest score.
    """

    label: str
    value: float
    kind: ScoreKind
    series_instance_uid: str
    frame: FrameKey
    derivation: Derivation | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A study as it stood when it was processed.

    instances: SOP Instance UID -> sha256 (hex) of the instance as received.
    predecessor: SOP Instance UID of the report of the revision before, where there is one.
    predecessor_class: SOP Class UID of that report; None where it is not known, then it is taken to be the new one's.
    """

    study_instance_uid: str
    number: int
    created_at: datetime
    instances: Mapping[str, str]
    predecessor: str | None = None
    predecessor_class: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that can change a number, by name; its sha256 is the fingerprint.

    notice: a sentence that must stand wherever the scores are shown, or empty. Not part of the fingerprint.
    """

    encoder: str
    weights: str
    precision: str
    presets: Mapping[str, str]
    selection: str
    label_set: str
    label_set_digest: str
    software: str
    extra: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over the canonical JSON of all fields but the notice."""
        return digest_of(
            {
                "encoder": self.encoder,
                "weights": self.weights,
                "precision": self.precision,
                "presets": dict(self.presets),
                "selection": self.selection,
                "label_set": self.label_set,
                "label_set_digest": self.label_set_digest,
                "software": self.software,
                "extra": dict(self.extra),
            }
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What became of each instance of a revision: SOP Instance UID -> (outcome, reason, detail)."""

    outcomes: Mapping[str, tuple[Outcome, Reason | None, str]]

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many instances had each outcome; the sum is the number received."""
        tally = Counter(outcome for outcome, _, _ in self.outcomes.values())
        return {outcome: tally[outcome] for outcome in Outcome}


def digest_of(value: Any) -> str:
    """Sha256 (hex) of a JSON-like value in canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def embedding_space(weights: str, preset_digest: str) -> str:
    """Names what makes two embeddings comparable: the encoder's weights and the rendering preset, by their sha256."""
    return digest_of([weights, preset_digest])[:32]


NO_LABEL_FITS = "no label of the label set is for the modality of a used image, so there is nothing to report"
"""Why there is no report on a study whose images were used; their embeddings are kept all the same."""


def short_uid(uid: str) -> str:
    """The form in which a UID may stand in a log line: its last 12 characters after an ellipsis."""
    return uid if len(uid) <= 13 else "…" + uid[-12:]
