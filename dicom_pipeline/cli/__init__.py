"""The command line: parse, call one function, print.

app (the commands and how errors end them), offline (process, explain), running (init, serve, status, retry, doctor),
keeping (clean, release, rebuild),
network (send), listings (presets, labels, show), research (probe, evaluate), models, backfill, exporting (export, pseudonyms
resolve), searching (search, duplicates, outliers, plot), storing (store info, add, verify, re-embed, compact), places
(options that commands on embeddings share), demo, printing, settings_text (the file that init writes), security (TLS files,
handshakes and the audit trail, for doctor).
"""

from dicom_pipeline.cli.app import main

__all__ = ["main"]
