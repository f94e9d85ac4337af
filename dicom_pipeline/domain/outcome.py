"""What became of an instance, and why one is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from dicom_pipeline.domain.study import Frame
from dicom_pipeline.errors import DicomPipelineError


class Outcome(StrEnum):
    """What became of an instance in a revision; every instance has exactly one."""

    USED = "used"
    EXCLUDED = "excluded"
    FAILED = "failed"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        """Results of an earlier version say skipped."""
        return cls.EXCLUDED if value == "skipped" else None


class Reason(StrEnum):
    """Why an instance or frame was not used. `sentence` says it to a person, `outcome` says excluded or failed."""

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
    NOT_AN_IMAGE = "not-an-image", Outcome.EXCLUDED, "holds no image to look at (a report, presentation state, key object, waveform, document, plan)"
    NOT_FOR_DISPLAY = "not-for-display", Outcome.EXCLUDED, "holds pixels that are not a picture of the patient (a segmentation, dose grid, raw data)"
    OWN_OBJECT = "own-object", Outcome.EXCLUDED, "was made by this pipeline"
    LOCALIZER = "localizer", Outcome.EXCLUDED, "is a localizer (scout), not part of the stack"
    DOSE_PAGE = "dose-page", Outcome.EXCLUDED, "is a dose, protocol or patient page, not an image of the body"
    QUALITY_CONTROL = "quality-control", Outcome.EXCLUDED, "shows a quality control phantom, not a patient"
    PATIENT_LABEL = "patient-label", Outcome.EXCLUDED, "shows a label, barcode or form that can identify the patient (of a slide, or a captured page)"
    SECONDARY_CAPTURE = "secondary-capture", Outcome.EXCLUDED, "is a secondary capture or screen shot"
    ADC_MAP = "adc-map", Outcome.EXCLUDED, "is a map of apparent diffusion coefficients, which only a rule takes (keep)"
    DERIVED = "derived", Outcome.EXCLUDED, "is derived from other images (projection, map, subtraction)"
    REFORMAT = "reformat", Outcome.EXCLUDED, "is a reformat of another series of the study"
    NOT_HOUNSFIELD = "not-hounsfield", Outcome.EXCLUDED, "is a CT image whose values are not Hounsfield units, in a series of others whose are"
    MODALITY_NOT_CHOSEN = "modality-not-chosen", Outcome.EXCLUDED, "no rule takes this modality or SOP class"
    SERIES_NOT_CHOSEN = "series-not-chosen", Outcome.EXCLUDED, "the series rules preferred another series or left this one out"
    STACK_NOT_CHOSEN = "stack-not-chosen", Outcome.EXCLUDED, "belongs to a stack (echo, phase, time point, orientation) that was not chosen"
    FRAME_NOT_CHOSEN = "frame-not-chosen", Outcome.EXCLUDED, "the selection chose other frames of its stack"
    AIR_ONLY = "air-only", Outcome.EXCLUDED, "shows air only"
    SAME_POSITION = "same-position", Outcome.EXCLUDED, "another frame at the same position is used"
    MOSAIC = "mosaic", Outcome.EXCLUDED, "is a mosaic of many slices that cannot be split"
    DUPLICATE = "duplicate", Outcome.EXCLUDED, "is the same instance as another input file"
    CONTENT_CONFLICT = "content-conflict", Outcome.FAILED, "has the UID of an instance that came earlier with other content; kept apart"
    UNREADABLE = "unreadable", Outcome.FAILED, "cannot be read as DICOM"
    MISSING_UID = "missing-uid", Outcome.FAILED, "lacks a valid study, series or SOP Instance UID"
    AMBIGUOUS_IDENTITY = "ambiguous-identity", Outcome.FAILED, "has an attribute of its identity twice or out of order, so that readers see different values"
    IDENTITY_MISMATCH = "identity-mismatch", Outcome.FAILED, "names other UIDs in its file than it was received under"
    NO_PIXEL_DATA = "no-pixel-data", Outcome.FAILED, "is an image object without pixel data"
    MISSING_ATTRIBUTE = "missing-attribute", Outcome.FAILED, "lacks an attribute that is needed to read its pixels"
    INVALID_ATTRIBUTE = "invalid-attribute", Outcome.FAILED, "has an attribute value that cannot be right"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported-transfer-syntax", Outcome.FAILED, "is compressed in a way that no installed decoder reads"
    UNSUPPORTED_PIXEL_FORMAT = "unsupported-pixel-format", Outcome.FAILED, "has a pixel format that no preset renders"
    TRUNCATED = "truncated", Outcome.FAILED, "has less pixel data than its attributes promise"
    DECODE_FAILED = "decode-failed", Outcome.FAILED, "has pixel data that its decoder refuses"
    LARGER_THAN_DECLARED = "larger-than-declared", Outcome.FAILED, "has a compressed frame larger than its attributes declare"
    DECODER_CRASHED = "decoder-crashed", Outcome.FAILED, "ends each process that decodes it"
    DECODER_TIMEOUT = "decoder-timeout", Outcome.FAILED, "takes longer to decode and render than a frame may"
    TOO_LARGE = "too-large", Outcome.FAILED, "asks for more memory than the limits allow"
    RENDER_FAILED = "render-failed", Outcome.FAILED, "could not be rendered with its preset"
    ENCODE_FAILED = "encode-failed", Outcome.FAILED, "could not be encoded"
    REPORT_FAILED = "report-failed", Outcome.FAILED, "was encoded, but no valid report could be made of its study"
    CRASHED_WORKER = "crashed-worker", Outcome.FAILED, "was being processed each time the worker died"
    CLEANED = "cleaned", Outcome.FAILED, "was cleaned from the spool after an earlier report was delivered; it must be sent again"
    DISCARDED = "discarded", Outcome.EXCLUDED, "belongs to a study that was not complete in time, which a completion rule discards"
    # fmt: on


@dataclass(frozen=True, slots=True)
class Excluded:
    """An instance (frame None) or one frame of it that is not used, and why."""

    reason: Reason
    path: Path
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    frame: int | None = None
    detail: str = ""


class InstanceError(DicomPipelineError):
    """One instance or frame cannot be used.

    reason: why. detail: numbers or attribute names, never values that could identify a patient.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)

    def excluded(
        self, path: Path, sop_instance_uid: str = "", series_instance_uid: str = "", frame: int | None = None
    ) -> Excluded:
        """What this error says of an instance (frame None) or of one frame of it."""
        return Excluded(self.reason, path, sop_instance_uid, series_instance_uid, frame, self.detail)

    def excluded_frame(self, frame: Frame) -> Excluded:
        """What this error says of a frame."""
        return self.excluded(frame.path, frame.key.sop_instance_uid, frame.series_instance_uid, frame.key.frame)


@dataclass(frozen=True, slots=True)
class Account:
    """What became of each instance of a revision: SOP Instance UID -> (outcome, reason, detail)."""

    outcomes: Mapping[str, tuple[Outcome, Reason | None, str]]

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many instances had each outcome; the sum is the number received."""
        tally = Counter(outcome for outcome, _, _ in self.outcomes.values())
        return {outcome: tally[outcome] for outcome in Outcome}


NO_LABEL_APPLIES = "no label of the chosen label sets applies to a used image, so there is nothing to report"
"""Why there is no report on a study whose images were used; their embeddings are kept all the same."""

NO_USABLE_IMAGE = "no usable image"
"""Why there is no report on a study of which no image was used."""
