"""The tables of the embedding store: lance (the database), rows (one row a frame), where (row filters), snapshot (one version),
indexes, pooling (frames of a series as one vector), checking (against the catalog).
"""
