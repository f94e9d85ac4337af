"""The command line: parse, call one function, print.

app (the commands and how errors end them), offline (process, explain), running (init, serve, retry, give-up, doctor), status
(status, acknowledge), keeping (clean, release, rebuild), network (send), listings (presets, labels, show), models, backfill,
demo, printing, and research/ (commands on embeddings).
"""

from dicom_pipeline.cli.app import main

__all__ = ["main"]
