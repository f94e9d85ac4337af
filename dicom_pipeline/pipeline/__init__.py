"""The stages as one chain: studies in, results out.

recipe (all that may change a number or a byte; makes the provenance), software (the versions and the build that compute),
stream (the chain), renderings (made ahead of the encoder), renderers (by processes that may die), measures (what selections
ask about frames), study_result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_pipeline.pipeline.recipe import EncoderIdentity, Recipe
    from dicom_pipeline.pipeline.stream import Pipeline
    from dicom_pipeline.pipeline.study_result import StudyResult

__all__ = ["EncoderIdentity", "Pipeline", "Recipe", "StudyResult"]


def __getattr__(name: str) -> Any:
    """On first use: a render process loads neither an encoder nor what makes reports."""
    if name in ("EncoderIdentity", "Recipe"):
        from dicom_pipeline.pipeline import recipe

        return getattr(recipe, name)
    if name == "Pipeline":
        from dicom_pipeline.pipeline.stream import Pipeline

        return Pipeline
    if name == "StudyResult":
        from dicom_pipeline.pipeline.study_result import StudyResult

        return StudyResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
