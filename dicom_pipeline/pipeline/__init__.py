"""The stages as one chain. stream: studies in, results out."""

from dicom_pipeline.pipeline.stream import Pipeline, StudyResult

__all__ = ["Pipeline", "StudyResult"]
