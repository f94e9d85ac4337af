"""The stages as one chain: studies in, results out.

recipe (all that may change a number or a byte; makes the provenance), software (the versions and the build that compute),
stream (the chain), renderings (made ahead by threads), measures (what selections ask about frames), study_result.
"""

from dicom_pipeline.pipeline.recipe import EncoderIdentity, Recipe
from dicom_pipeline.pipeline.stream import Pipeline
from dicom_pipeline.pipeline.study_result import StudyResult

__all__ = ["EncoderIdentity", "Pipeline", "Recipe", "StudyResult"]
