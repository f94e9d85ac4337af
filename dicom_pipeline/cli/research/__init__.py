"""Commands on embeddings: exporting (export, pseudonyms resolve), probes (probe, evaluate), searching (search, similar,
duplicates, outliers, plot), storing (store info, add, verify, re-embed, compact), places (options that they share).
"""
