"""Every exception that this package raises on purpose.

    DicomPipelineError
    ├── UsageError               wrong arguments; the CLI exits with 2
    │   ├── ConfigError          a setting is missing, unknown or out of range
    │   ├── PresetError          no such preset, or its file is wrong
    │   ├── SelectionError       a selection SPEC that cannot be read
    │   ├── RuleError            a rule of the rule table is wrong
    │   └── LabelSetError        no such label set, or its file is wrong
    ├── InstanceError            one instance or frame cannot be used; carries a Reason (in domain, beside Reason)
    ├── ModelError               an encoder cannot be loaded or used
    │   ├── ModelNotFoundError   neither a folder, a known name nor a cached hub id
    │   ├── ModelGatedError      the hub wants an accepted licence and a token
    │   ├── UnsafeWeightsError   weights that are not safetensors
    │   ├── PromptTooLongError   a prompt longer than the text tower reads
    │   └── NoTextTowerError     an image-only encoder was asked for text
    ├── ProbeError               a probe cannot be fitted or read
    ├── FingerprintError         two things made with other settings were to be joined
    ├── ReportError              a report cannot be built or read
    ├── CatalogError             the catalog refuses or is of another version
    ├── FilesCleanedError        a study's files were cleaned from the spool after delivery
    ├── StoreError               the embedding store cannot be opened or used
    ├── SourceError              a source does not answer
    │   ├── NotInSourceError     it no longer has what it listed
    │   └── UnreadableInSourceError   it lists an instance and cannot give its file
    └── DeliveryError            a destination did not take an object

Messages say what was expected, what was found, where, and what to do. They never hold patient data:
UIDs only, shortened with `dicom_pipeline.domain.short_uid`.
"""

from __future__ import annotations


class DicomPipelineError(Exception):
    """Something went wrong in dicom_pipeline."""


class UsageError(DicomPipelineError):
    """The call's arguments are wrong."""


class ConfigError(UsageError):
    """A setting is missing, unknown or out of range."""


class PresetError(UsageError):
    """A preset does not exist or its file is wrong."""


class SelectionError(UsageError):
    """A selection SPEC cannot be read."""


class RuleError(UsageError):
    """A rule of the rule table is wrong."""


class LabelSetError(UsageError):
    """A label set does not exist or its file is wrong."""


class ModelError(DicomPipelineError):
    """An encoder cannot be loaded or used."""


class ModelNotFoundError(ModelError):
    """A model id is neither a folder, a known name nor to be had from the hub."""


class ModelGatedError(ModelError):
    """A model's licence must be accepted, and a token given, before its weights can be fetched."""


class UnsafeWeightsError(ModelError):
    """A checkpoint has no safetensors weights; pickled weights are never loaded."""


class PromptTooLongError(ModelError):
    """A prompt has more tokens than the text tower reads."""


class NoTextTowerError(ModelError):
    """An image-only encoder was asked to embed text."""


class ProbeError(DicomPipelineError):
    """A linear probe cannot be fitted or read."""


class FingerprintError(DicomPipelineError):
    """Two things made with different settings were to be used together."""


class ReportError(DicomPipelineError):
    """A report cannot be built or read."""


class CatalogError(DicomPipelineError):
    """The catalog refuses, or has the schema of another version."""


class NoAnswerError(DicomPipelineError):
    """The worker is not there, or too busy to answer."""


class TransitionError(DicomPipelineError):
    """A state was to be entered that may not follow the one that is there (domain/life.py)."""


class FilesCleanedError(DicomPipelineError):
    """A study's files, or some of them, were cleaned from the spool after its report was delivered."""


class StoreError(DicomPipelineError):
    """The embedding store cannot be opened or used."""


class SourceError(DicomPipelineError):
    """A source of studies does not answer."""


class NotInSourceError(SourceError):
    """A source no longer has what it listed."""


class UnreadableInSourceError(SourceError):
    """A source lists an instance and cannot give its file."""


class DeliveryError(DicomPipelineError):
    """A destination did not take an object."""
