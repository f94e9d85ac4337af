"""REPORT: scores of a revision -> a DICOM Structured Report, TID 1500, for research use only.

codes (data/codes.toml), evidence (clean headers), equipment (who made it), content (the tree), measurements (its scores),
domain_mark (frames unlike the model's reference), names and summary (what a person reads first), image_library, report,
simpler_class (the same as another SR class),
readback (values again), text (for people). A room of its own: companions (key image, key objects, embeddings, PDF).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_pipeline.reporting.companions import (
        COMPANIONS,
        KeyFrame,
        key_frame,
        make_companions,
        read_embeddings_object,
    )
    from dicom_pipeline.reporting.names import image_name_of, series_names, study_name_of
    from dicom_pipeline.reporting.readback import ReportContent, ReportScore, read_report
    from dicom_pipeline.reporting.report import SR_CLASSES, build_report, with_companions
    from dicom_pipeline.reporting.simpler_class import as_class, classes_for
    from dicom_pipeline.reporting.text import report_html, report_text

__all__ = [
    "COMPANIONS",
    "SR_CLASSES",
    "KeyFrame",
    "ReportContent",
    "ReportScore",
    "as_class",
    "build_report",
    "classes_for",
    "image_name_of",
    "key_frame",
    "make_companions",
    "read_embeddings_object",
    "read_report",
    "report_html",
    "report_text",
    "series_names",
    "study_name_of",
    "with_companions",
]


def __getattr__(name: str) -> Any:
    """On first use: what names things for people loads no highdicom."""
    if name in ("image_name_of", "series_names", "study_name_of"):
        from dicom_pipeline.reporting import names

        return getattr(names, name)
    if name in __all__:
        from dicom_pipeline.reporting import companions, readback, report, simpler_class, text

        return next(getattr(f, name) for f in (companions, readback, report, simpler_class, text) if hasattr(f, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
