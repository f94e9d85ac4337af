"""A mosaic from file to report: its slices are inputs, and scores, names, regions and pictures are those of slices."""

import numpy as np
import pydicom
import pytest

from dicom_pipeline import Pipeline
from dicom_pipeline.config import ReportSection, Settings
from dicom_pipeline.dicom.mosaics import tiles_of
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason
from dicom_pipeline.imaging.decoding.frames import decode
from dicom_pipeline.reporting import SR_CLASSES, as_class, read_report
from dicom_pipeline.results.study_output import StudyOutput
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, pixelmed_errors_of


@pytest.fixture(scope="module")
def folder(corpus):
    return corpus / "mr_siemens_mosaic" / "mr_0003"


@pytest.fixture(scope="module")
def result(folder):
    settings = Settings(report=ReportSection(companions=("key-image", "key-objects")))
    (made,) = Pipeline.from_config(settings, keep_renderings=24).process_paths([folder])
    return made


def test_a_slice_is_its_part_of_the_image(folder):
    path = next(folder.glob("*.dcm"))
    dataset = pydicom.dcmread(path)
    whole, tiles = dataset.pixel_array, tiles_of(dataset)
    slices = [decode(Frame(FrameKey("1", number), path, "1")).values for number in range(1, tiles.count + 1)]
    for number, values in enumerate(slices, 1):
        np.testing.assert_array_equal(values, whole[tiles.area(number)])
    assert len({values.tobytes() for values in slices}) == 5
    with pytest.raises(InstanceError) as caught:
        decode(Frame(FrameKey("1", 6), path, "1"))
    assert caught.value.reason is Reason.TRUNCATED


def test_every_slice_of_every_volume_is_an_input_with_its_place(result):
    (series,) = result.plan.series
    assert [(f.key.frame, f.position_mm, f.stack) for f in series.frames] == [
        (number, 4 + 12.0 * number, volume) for volume in (0, 1) for number in range(1, 6)
    ]
    assert len({embedding.vector.tobytes() for embedding in result.embeddings}) == 10


def test_the_report_is_valid_and_read_back_slice_by_slice(result, tmp_path):
    paths = []
    for number, sop_class in enumerate(SR_CLASSES):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(encode(as_class(result.report, sop_class)))
        assert dciodvfy_errors(paths[-1]) + dsrdump_errors(paths[-1]) == []
        content = read_report(pydicom.dcmread(paths[-1]))
        scored = {(s.label, s.frame, s.derivation): s.value for s in result.scores}
        assert content.scores
        for score in content.scores:
            assert score.value == pytest.approx(scored[score.label, score.frame, score.derivation], rel=1e-5)
            assert score.image_name.endswith(f", slice {score.frame.frame}")
    assert {str(path): errors for path, errors in pixelmed_errors_of(paths).items() if errors} == {}


def test_a_slice_is_shown_as_a_region_of_the_mosaic(result):
    regions = {
        (child.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID, tuple(child.GraphicData[:2]))
        for group in result.report.ContentSequence[-1].ContentSequence
        for item in group.get("ContentSequence", [])
        if item.ValueType == "NUM"
        for child in item.ContentSequence
        if child.ValueType == "SCOORD"
    }
    tiles = tiles_of(next(iter(result.headers.values())))
    corners = {tuple(map(float, reversed(tiles.corner(number)))) for number in range(1, 6)}
    assert regions
    assert {corner for _, corner in regions} <= corners


def test_companions_are_valid_and_name_a_mosaic_once(result, tmp_path):
    shown = {k.Modality: k for k in result.companions}
    for number, made in enumerate(result.companions):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(encode(made))
        assert dciodvfy_errors(path) == [], made.SeriesDescription
    images = [item.ReferencedSOPSequence[0] for item in shown["KO"].ContentSequence if item.ValueType == "IMAGE"]
    assert images
    assert len({image.ReferencedSOPInstanceUID for image in images}) == len(images)
    assert not any("ReferencedFrameNumber" in image for image in images)


def test_names_rows_and_plan_say_which_slice(result):
    output = StudyOutput.of(result, result.embeddings[0].vector.shape[0])
    assert [frame["name"] for frame in output.plan["series"][0]["frames"]][:2] == [
        "image 1, slice 1",
        "image 1, slice 2",
    ]
    rows = output.embeddings.to_pylist()
    assert [row["frame"] for row in rows] == [*range(1, 6), *range(1, 6)]
