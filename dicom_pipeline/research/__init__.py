"""STUDY: embeddings and scores as tables, stored, filtered, exported and searched.

tags (acquisition tags of a header), tables (embeddings.parquet and scores.csv), rows (a row of the store), lance (the
database behind it), store (EmbeddingStore), where (row filters), snapshot (one version), indexes,
checking (against the catalog).

Search: nearest, similar (whole studies), queries (what is searched for), viewers and pages (HTML), neighbours
(duplicates, outliers), projection (the map). Export: export, levels (rows of frames, series, studies), pooling,
pseudonyms, vocabulary (texts that may leave), anonymity, export_files, datasheet. Labelled embeddings: embeddings
(reading and pooling them), truth (labelled rows), metrics (AUC and its kin), fitting and probe_files (linear probes),
evaluation and evaluation_files, plots.
"""

from dicom_pipeline.research.store import EmbeddingStore
from dicom_pipeline.research.tables import SCORE_COLUMNS, embedding_table, embeddings_schema, score_rows
from dicom_pipeline.research.tags import acquisition_tags

__all__ = [
    "SCORE_COLUMNS",
    "EmbeddingStore",
    "acquisition_tags",
    "embedding_table",
    "embeddings_schema",
    "score_rows",
]
