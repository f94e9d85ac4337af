"""Slide labels, captured forms and phantoms are no input."""

import pytest

from dicom_pipeline.domain import Reason
from dicom_pipeline.planning import rules_from
from dicom_pipeline.planning.recognition.kinds import exclusion_reason
from tests.planning.made import reasons_of, synthetic

SLIDE = {"Modality": "SM", "SamplesPerPixel": 3}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({**SLIDE, "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, Reason.PATIENT_LABEL),
        ({**SLIDE, "ImageType": ["DERIVED", "PRIMARY", "OVERVIEW", "NONE"]}, Reason.PATIENT_LABEL),
        ({**SLIDE, "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}, None),
        ({**SLIDE, "ImageType": ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]}, None),
        ({**SLIDE, "ImageType": ["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"]}, None),
        ({**SLIDE, "SpecimenLabelInImage": "YES"}, Reason.PATIENT_LABEL),
        ({**SLIDE, "SpecimenLabelInImage": "NO"}, None),
        ({"Modality": "XC", "SeriesDescription": "Request_form"}, Reason.PATIENT_LABEL),
        ({"Modality": "XC", "SeriesDescription": "left forearm"}, None),
        ({"Modality": "GM", "SeriesDescription": "Slide barcode 1"}, Reason.PATIENT_LABEL),
        ({"Modality": "XC", "BurnedInAnnotation": "YES"}, Reason.PATIENT_LABEL),
        ({"Modality": "US", "BurnedInAnnotation": "YES"}, None),
        ({"Modality": "CT", "SeriesDescription": "labelled white cells"}, None),
        ({"QualityControlImage": "YES"}, Reason.QUALITY_CONTROL),
        ({"QualityControlImage": "BOTH"}, None),
        ({"QualityControlImage": "NO"}, None),
        ({"Modality": "MG", "QualityControlSubject": "YES"}, Reason.QUALITY_CONTROL),
    ],
)
def test_labels_and_phantoms_have_their_reason(values, reason):
    found = exclusion_reason(synthetic(1, **values))
    assert (found and found[0]) is reason


def test_a_rule_keeps_phantoms():
    rules = rules_from({"render": [{"preset": "x"}], "keep": ["quality-control"]})
    assert reasons_of([synthetic(1, QualityControlImage="YES")], rules) == {"1.3": "used"}
