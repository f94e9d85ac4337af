"""What OHIF shows of our reports: its own published reader, run in Node without a browser."""

import json
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Label, LabelSet, ScoreKind
from dicom_pipeline.reporting import SR_CLASSES, as_class
from tests.peers.programs import need
from tests.reporting.made import SMALL, SOP_CLASSES, header, report

OHIF = "@ohif/extension-cornerstone-dicom-sr@3.13.13"
HERE = Path(__file__).resolve().parent / "ohif"

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function: report -> what OHIF makes of it, beside the images that it refers to."""
    npm, node, folder = need("npm"), need("node"), tmp_path_factory.mktemp("ohif")
    for name in ("package.json", "package-lock.json", "read.cjs"):
        shutil.copy(HERE / name, folder)
    commands = (
        [npm, "ci", "--silent", "--legacy-peer-deps", "--ignore-scripts"],
        [npm, "pack", "--silent", OHIF],
        ["tar", "xzf", f"{OHIF.removeprefix('@').replace('/', '-').replace('@', '-')}.tgz"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"OHIF cannot be had from the npm registry: {done.stderr[-300:]}")

    def reading(dataset: pydicom.Dataset, kind: str, **tags):
        paths = [folder / "report.dcm"]
        paths[0].write_bytes(encode(dataset))
        for number, (uid, series) in enumerate(evidence(dataset)):
            image = header(kind, 0, tags)
            image.SOPInstanceUID, image.SeriesInstanceUID = uid, series
            paths.append(folder / f"{number}.dcm")
            paths[-1].write_bytes(encode(image))
        command = [node, "read.cjs", "package/dist/ohif-extension-cornerstone-dicom-sr.umd.js", *map(str, paths)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
        return json.loads(done.stdout)

    return reading


def evidence(dataset):
    for study in dataset.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for each in series.ReferencedSOPSequence:
                yield str(each.ReferencedSOPInstanceUID), str(series.SeriesInstanceUID)


@pytest.mark.parametrize("sop_class", list(SR_CLASSES))
@pytest.mark.parametrize("kind", SOP_CLASSES)
def test_every_group_has_its_labels_values_and_image(read, kind, sop_class):
    dataset, scores = report(kind, label_set=SMALL, key_frames=2, series=2)
    shown = read(as_class(dataset, sop_class), kind)
    assert (shown["problem"], shown["rehydratable"]) == ("", False)
    assert [len(group["labels"]) for group in shown["groups"]] == [3] * 6
    assert all(group["loaded"] for group in shown["groups"])
    images = {score.frame.sop_instance_uid for score in scores}
    for group in shown["groups"]:
        assert group["labels"][0][0] == "Score for Support Devices"  # the highest of the report comes first
        assert all(value.endswith(" {score}") for _, value in group["labels"])
        assert any(uid in group["image"] for uid in images)
    first = max((s for s in scores if s.derivation is not None), key=lambda s: s.value)
    assert shown["groups"][0]["labels"][0][1] == f"{first.value:.2f} {{score}}"


def test_the_labels_that_are_drawn_are_the_highest(read):
    labels = LabelSet("t", "1", tuple(Label(f"L{i:02}", ("x",), ("y",)) for i in range(13)), ScoreKind.ZERO_SHOT_PAIR)
    dataset, _ = report("CR", label_set=labels, key_frames=1)
    shown = read(dataset, "CR")
    assert [label for label, _ in shown["groups"][0]["labels"]][:5] == [f"Score for L{i:02}" for i in range(12, 7, -1)]


def test_an_image_whose_size_nobody_states_ends_no_viewer_in_our_own_tools(read):
    """OHIF then shows nothing of the report, as it needs a region; that is said in docs/report.md."""
    dataset, _ = report("CR", full=False, label_set=SMALL, key_frames=0)
    assert read(dataset, "CR")["problem"]
