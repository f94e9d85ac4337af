"""What dcmqi, and with it 3D Slicer, reads of our reports: its tid1500reader, whose quantities become Slicer's columns."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.reporting import SR_CLASSES, as_class, read_report
from tests.reporting.made import SMALL, SOP_CLASSES, report

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def reader() -> Path:
    found = importlib.util.find_spec("dcmqi")
    if found is None or found.origin is None:
        pytest.skip("dcmqi is not installed; the extra `dev` brings it")
    return Path(found.origin).parent / "bin" / "tid1500reader"


def groups_of(reader: Path, dataset, folder: Path) -> list[dict]:
    """The measurement groups that the reader finds."""
    path, said = folder / "report.dcm", folder / "said.json"
    path.write_bytes(encode(dataset))
    command = [reader, "--inputDICOM", path, "--outputMetadata", said]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(said.read_text())["Measurements"]


@pytest.mark.parametrize("sop_class", SR_CLASSES)
@pytest.mark.parametrize("kind", SOP_CLASSES)
def test_columns_are_labels_in_one_order_and_values_are_the_scores(reader, kind, sop_class, tmp_path):
    made, _ = report(kind, label_set=SMALL, series=2, key_frames=2)
    groups = groups_of(reader, as_class(made, sop_class), tmp_path)
    content = read_report(made)
    columns = [f"Score for {name}" for name in ("Support Devices", "Lung Lesion", "Pneumothorax")]
    values = {}
    for group in groups:
        items = group["measurementItems"]
        assert [item["quantity"]["CodeMeaning"] for item in items] == columns
        assert {item["units"]["CodeValue"] for item in items} == {"{score}"}
        for item in items:
            values[group["TrackingIdentifier"], item["quantity"]["CodeMeaning"]] = float(item["value"])
    assert values == {
        (s.series_name if s.derivation else f"{s.series_name}, {s.image_name}", f"Score for {s.label}"): s.value
        for s in content.scores
    }


def test_the_model_is_named_as_the_algorithm(reader, tmp_path):
    made, _ = report("CT", label_set=SMALL)
    for group in groups_of(reader, made, tmp_path):
        algorithm = group["measurementAlgorithmIdentification"]
        assert (algorithm["AlgorithmName"], algorithm["AlgorithmVersion"]) == ("phantom", "ab" * 32)
