"""RECEIVE: instances over DICOM into the spool, durable before Success is said; and when a study is complete.

spool (durable files), listener (C-STORE and C-ECHO), upload (whole files), completion (pure).
"""

from dicom_pipeline.intake.completion import CompletionRule, Decision, decide
from dicom_pipeline.intake.listener import Listener, ListenerSettings
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.intake.upload import Taken, Upload, Uploads

__all__ = [
    "CompletionRule",
    "Decision",
    "Listener",
    "ListenerSettings",
    "Spool",
    "Taken",
    "Upload",
    "Uploads",
    "decide",
]
