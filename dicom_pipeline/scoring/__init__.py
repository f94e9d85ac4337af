"""SCORE: embeddings -> label scores. Numpy only: knows no DICOM and no torch.

label_sets (TOML files in data/label_sets), conditions (on what images say of themselves), applicability (which labels are for
which images), choice (which sets score which series), zero_shot (sigmoid and pair), series (frame scores aggregated),
probes (fitted linear probes), reference (what a model's embeddings are like).
"""

from dicom_pipeline.scoring.applicability import Applicability, scope_of
from dicom_pipeline.scoring.choice import NO_LABEL_SET, LabelChoice
from dicom_pipeline.scoring.label_sets import label_set_from, list_label_sets, load_label_set
from dicom_pipeline.scoring.probes import Probe, load_probe
from dicom_pipeline.scoring.reference import Reference, load_reference
from dicom_pipeline.scoring.series import series_scores
from dicom_pipeline.scoring.zero_shot import ZeroShot

__all__ = [
    "NO_LABEL_SET",
    "Applicability",
    "LabelChoice",
    "Probe",
    "Reference",
    "ZeroShot",
    "label_set_from",
    "list_label_sets",
    "load_label_set",
    "load_probe",
    "load_reference",
    "scope_of",
    "series_scores",
]
