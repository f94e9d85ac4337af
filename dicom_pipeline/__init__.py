"""From a PACS to MedSigLIP embeddings, zero-shot label scores and DICOM Structured Reports. Research use only.

    receive -> assemble -> plan -> render -> encode -> score -> report -> deliver
                                                 \\-> store

A study flows down this line once. Rooms, in that order:

    intake      receive instances over DICOM, durably; when a study is complete
    catalog     remember what came and what became of it (SQLite)
    audit       tell of who sent what, when, to which report (DICOM audit messages)
    planning    which frames are used, how, and why the others are not
    imaging     stored pixels -> uint8 (448, 448, 3)
    encoders    renderings and texts -> embeddings
    scoring     embeddings -> label scores
    reporting   scores -> a DICOM Structured Report, and back
    delivery    reports -> destinations
    research    embeddings and scores as tables
    service     the running service; result folders
    cli         the command line

`domain` has the words as values, `errors` the exceptions, `config` the settings, `pipeline` the stages as one chain,
`faults` the points at which tests kill a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_pipeline.config import Settings, load_settings
from dicom_pipeline.domain import Embedding, LabelSet, Plan, Rendering, Revision, Score
from dicom_pipeline.errors import DicomPipelineError

if TYPE_CHECKING:
    from dicom_pipeline.pipeline import Pipeline, StudyResult
    from dicom_pipeline.research import EmbeddingStore

__all__ = [
    "DicomPipelineError",
    "Embedding",
    "EmbeddingStore",
    "LabelSet",
    "Pipeline",
    "Plan",
    "Rendering",
    "Revision",
    "Score",
    "Settings",
    "StudyResult",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    """Pipeline, StudyResult and EmbeddingStore on first use: `import dicom_pipeline` must not load torch and the like."""
    if name in ("Pipeline", "StudyResult"):
        from dicom_pipeline import pipeline

        return getattr(pipeline, name)
    if name == "EmbeddingStore":
        from dicom_pipeline.research import EmbeddingStore

        return EmbeddingStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
