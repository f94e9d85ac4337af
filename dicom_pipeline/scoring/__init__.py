"""SCORE: embeddings -> label scores. Numpy only: knows no DICOM and no torch.

label_sets (TOML files in data/label_sets), zero_shot (sigmoid and pair), series (frame scores aggregated),
probes (fitted linear probes).
"""

from dicom_pipeline.scoring.label_sets import label_set_from, list_label_sets, load_label_set
from dicom_pipeline.scoring.probes import Probe, load_probe
from dicom_pipeline.scoring.series import series_scores
from dicom_pipeline.scoring.zero_shot import ZeroShot

__all__ = [
    "Probe",
    "ZeroShot",
    "label_set_from",
    "list_label_sets",
    "load_label_set",
    "load_probe",
    "series_scores",
]
