"""From a PACS to MedSigLIP embeddings, zero-shot label scores and DICOM Structured Reports. Research use only.

    receive -> assemble -> plan -> render -> encode -> score -> report -> deliver
                                                 \\-> store

A study flows down this line once. Rooms, in that order:

    acceptor    the DICOM node that listens: associations and messages
    intake      receive instances, durably
    sources     fetch studies from other systems
    assembly    when a study is complete, and when its files may go
    catalog     remember what came and what became of it (SQLite)
    audit       who sent what, when, to which report (DICOM audit messages)
    planning    which frames are used, how, and why the others are not
    imaging     stored pixels -> uint8 (448, 448, 3)
    encoders    renderings and texts -> embeddings
    scoring     embeddings -> label scores
    reporting   scores -> a DICOM Structured Report, and back
    pipeline    the stages as one chain
    results     what came of a study as files, and back
    peers       remote systems: DICOM nodes, DICOMweb servers, Orthanc, folders
    delivery    reports -> destinations
    research    embeddings and scores: store, search, export, probes
    web         HTTP routes
    service     the processes of the running service
    maintenance doctor, rebuild, care of the store
    cli         the command line

`domain` has the words as values, `dicom` what the standard says of any data set, `config` the settings, `errors` the
exceptions, `disk` durable files and locks, `backoff` how long to wait before the
next attempt, `faults` the points at which tests kill a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_pipeline.errors import DicomPipelineError

if TYPE_CHECKING:
    from dicom_pipeline.config import Settings, load_settings
    from dicom_pipeline.domain import Embedding, LabelSet, Plan, Rendering, Revision, Score
    from dicom_pipeline.pipeline import Pipeline, StudyResult
    from dicom_pipeline.research.embedding_store import EmbeddingStore

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
    """Every name but the exception on first use: `import dicom_pipeline`, and so the command line, loads no library."""
    if name in ("Settings", "load_settings"):
        from dicom_pipeline import config

        return getattr(config, name)
    if name in ("Embedding", "LabelSet", "Plan", "Rendering", "Revision", "Score"):
        from dicom_pipeline import domain

        return getattr(domain, name)
    if name in ("Pipeline", "StudyResult"):
        from dicom_pipeline.pipeline import stream as pipeline

        return getattr(pipeline, name)
    if name == "EmbeddingStore":
        from dicom_pipeline.research.embedding_store import EmbeddingStore

        return EmbeddingStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
