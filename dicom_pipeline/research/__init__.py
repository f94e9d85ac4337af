"""STUDY: embeddings and scores as tables, in four rooms: store, search, export, probes.

embedding_store (EmbeddingStore: rows in, rows and neighbours out), writer (the running service adds rows), live (searches that
the running service answers), reference_fitting (what a model's embeddings are like).
"""

from dicom_pipeline.research.embedding_store import EmbeddingStore

__all__ = ["EmbeddingStore"]
