"""The words of this system as frozen values; see docs/glossary.md. Numpy and nothing of ours but the errors.

study (instance, frame, revision, embedding), processing (plan, scores, provenance), labels (what is scored, and which images it
applies to), outcome (what became of an instance and why), life (the states of studies, revisions and deliveries), level (frame,
instance, series, study), naming (what series and images are called).

UIDs are plain strings. Frame numbers count from 1, as in DICOM (PS3.3 C.7.6.6). Times are aware datetimes in UTC.
"""

from dicom_pipeline.domain.labels import AppliesTo, Code, Condition, Label, LabelSet
from dicom_pipeline.domain.level import PROBE_LEVELS, ROW_LEVELS, Level, level_of
from dicom_pipeline.domain.naming import distinct_names, image_name, series_name, study_name
from dicom_pipeline.domain.outcome import (
    NO_LABEL_APPLIES,
    NO_USABLE_IMAGE,
    Account,
    Excluded,
    InstanceError,
    Outcome,
    Reason,
)
from dicom_pipeline.domain.processing import (
    Derivation,
    Domain,
    FrameDomain,
    Plan,
    Provenance,
    Score,
    ScoreKind,
    SeriesPlan,
    digest_of,
    embedding_space,
    score_text,
)
from dicom_pipeline.domain.study import (
    IMAGE_SIZE,
    Embedding,
    Frame,
    FrameKey,
    ImageTraits,
    Pixels,
    Rendering,
    Revision,
    Vector,
    short_uid,
)

__all__ = [
    "IMAGE_SIZE",
    "NO_LABEL_APPLIES",
    "NO_USABLE_IMAGE",
    "PROBE_LEVELS",
    "ROW_LEVELS",
    "Account",
    "AppliesTo",
    "Code",
    "Condition",
    "Derivation",
    "Domain",
    "Embedding",
    "Excluded",
    "Frame",
    "FrameDomain",
    "FrameKey",
    "ImageTraits",
    "InstanceError",
    "Label",
    "LabelSet",
    "Level",
    "Outcome",
    "Pixels",
    "Plan",
    "Provenance",
    "Reason",
    "Rendering",
    "Revision",
    "Score",
    "ScoreKind",
    "SeriesPlan",
    "Vector",
    "digest_of",
    "distinct_names",
    "embedding_space",
    "image_name",
    "level_of",
    "score_text",
    "series_name",
    "short_uid",
    "study_name",
]
