"""What highdicom reads of our reports: a library that research groups read TID 1500 with."""

import pytest
from highdicom.sr import srread

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.reporting import SR_CLASSES, as_class, read_report
from tests.reporting.made import SMALL, SOP_CLASSES, report


@pytest.mark.parametrize("sop_class", SR_CLASSES)
@pytest.mark.parametrize("kind", SOP_CLASSES)
def test_groups_scores_units_and_images_are_read(kind, sop_class, tmp_path):
    made, _ = report(kind, label_set=SMALL, series=2, key_frames=2)
    (tmp_path / "r.dcm").write_bytes(encode(as_class(made, sop_class)))
    groups = srread(tmp_path / "r.dcm").content.get_image_measurement_groups()
    scores = read_report(made).scores
    read = [(m.name.meaning, m.value, m.unit.value) for group in groups for m in group.get_measurements()]
    assert sorted(read) == sorted((f"Score for {score.label}", score.value, "{score}") for score in scores)
    assert {image.referenced_sop_instance_uid for group in groups for image in group.source_images} == {
        score.frame.sop_instance_uid for score in scores
    }
    names = {group.tracking_identifier for group in groups}
    assert names == {s.series_name if s.derivation else f"{s.series_name}, {s.image_name}" for s in scores}
