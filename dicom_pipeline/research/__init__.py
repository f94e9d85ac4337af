"""STUDY: embeddings and scores as tables that research tools open.

tags (acquisition tags of a header), tables (embeddings.parquet and scores.csv), embeddings (reading and pooling them), truth
(labelled rows), metrics (AUC and its kin), fitting and probe_files (linear probes), evaluation and evaluation_files, plots.
scikit-learn and matplotlib, which the extra `research` brings, are loaded by those files alone.
"""

from dicom_pipeline.research.tables import SCORE_COLUMNS, embedding_table, embeddings_schema, score_rows
from dicom_pipeline.research.tags import acquisition_tags

__all__ = ["SCORE_COLUMNS", "acquisition_tags", "embedding_table", "embeddings_schema", "score_rows"]
