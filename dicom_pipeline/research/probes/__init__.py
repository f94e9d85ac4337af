"""Labelled embeddings: embeddings (reading and pooling them), truth (labelled rows), fitting and probe_files (linear probes),
metrics, evaluation and evaluation_files, plots.
"""
