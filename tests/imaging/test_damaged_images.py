"""Images whose headers hold anything at all: each is rendered or has its reason, and takes none of its neighbours along."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_pipeline import Pipeline
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Frame, FrameKey, InstanceError
from dicom_pipeline.imaging import SeriesRenderer, content_of, list_presets
from dicom_pipeline.planning import account_of, default_rules, plan_study, read_header
from dicom_pipeline.results.tags import acquisition_tags
from tests.reporting.damaged import IMAGE_KEYWORDS, SEQUENCE, damaged, damages, plain_image, tag_of, write

HOW = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
KINDS = st.sampled_from(("CT", "MR", "CR", "DX", "MG", "ECT"))
CASES = st.lists(st.tuples(KINDS, damages(IMAGE_KEYWORDS)), min_size=2, max_size=4)
ONE_STUDY = {tag_of("StudyInstanceUID"): ("UI", b"2.25.8"), tag_of("SeriesInstanceUID"): ("UI", b"2.25.9")}
SELECTIONS = (None, "all", "middle:2", "every-mm:5", "body:2", "key-objects")


def check(folder, cases):
    """Plan the instances as one study, render each that can be read with every preset."""
    headers = []
    for number, (kind, damage) in enumerate(cases):
        path = write(folder, f"{number}.dcm", damaged({**plain_image(kind, number), **ONE_STUDY}, damage))
        try:
            headers.append(read_header(path))
        except InstanceError:
            continue
    if not headers:
        return
    for selection in SELECTIONS:
        plan = plan_study(headers, default_rules(), selection=selection, content=content_of)
        account = account_of(plan, {header.sop_instance_uid: "" for header in headers})
        assert sum(account.counts.values()) == len({header.sop_instance_uid for header in headers})
    for header in headers:
        assert set(acquisition_tags(header.dataset)) >= {"modality", "age_band"}
        frame = Frame(FrameKey(header.sop_instance_uid, 1), header.path, header.series_instance_uid)
        for preset in list_presets():
            made = rendered(SeriesRenderer(preset, (frame,)), frame)
            if isinstance(made, InstanceError):
                assert " at " not in made.detail, made.detail  # the place of what nobody foresaw
            else:
                assert (made.shape, made.dtype) == ((448, 448, 3), np.uint8)


def rendered(renderer, frame):
    try:
        return renderer.render(frame).pixels
    except InstanceError as error:
        return error


@settings(HOW, max_examples=60)
@given(CASES)
def test_each_instance_is_rendered_or_has_its_reason(tmp_path_factory, cases):
    check(tmp_path_factory.mktemp("damaged"), cases)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(HOW, max_examples=int(os.environ.get("DICOM_PIPELINE_EXAMPLES", "2000")))
@given(CASES)
def test_each_instance_is_rendered_or_has_its_reason_for_long(tmp_path_factory, cases):
    check(tmp_path_factory.mktemp("damaged"), cases)


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_config(Settings())


FOUND = {
    "equipment of text": {"ContributingEquipmentSequence": ("LO", b"a scanner")},
    "shared groups of text": {"SharedFunctionalGroupsSequence": ("LT", b"none")},
    "groups of text": {"PerFrameFunctionalGroupsSequence": ("UT", b"x ")},
    "bits stored in words": {"BitsStored": ("CS", b"twelve")},
    "high bit in words": {"HighBit": ("SH", b"abc1")},
    "padding in words": {"PixelPaddingValue": ("LO", b"none"), "PixelPaddingRangeLimit": ("SQ", SEQUENCE)},
    "two paddings": {"PixelPaddingValue": ("US", b"\1\0\2\0")},
    "a table without values": {"ModalityLUTSequence": ("SQ", SEQUENCE)},
    "a window in words": {"WindowCenter": ("DS", b"abc"), "WindowWidth": ("SH", b"wide")},
    "a window table without values": {"VOILUTSequence": ("SQ", SEQUENCE)},
}  # fmt: skip
"""Headers that once stopped a worker, and with it all that was processed beside them."""


@pytest.mark.parametrize("damage", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("kind", ["CT", "CR", "MR"])
def test_a_damaged_image_takes_no_other_along(tmp_path, pipeline, kind, damage):
    wrong = {tag_of(keyword): value for keyword, value in damage.items()}
    write(tmp_path, "1.dcm", damaged({**plain_image(kind, 1), **ONE_STUDY}, wrong))
    apart = {tag_of("ImagePositionPatient"): ("DS", b"0\\0\\5")}
    write(tmp_path, "2.dcm", {**plain_image(kind, 2), **ONE_STUDY, **apart})
    (result,) = pipeline.process_paths([tmp_path])
    assert {frame.key.sop_instance_uid for frame in result.plan.frames} >= {"2.25.72"}
    assert sum(result.account.counts.values()) == 2


def test_what_nobody_foresaw_of_a_frame_is_its_own_failure(tmp_path, monkeypatch):
    path = write(tmp_path, "1.dcm", plain_image("CT", 1))
    header = read_header(path)
    frame = Frame(FrameKey(header.sop_instance_uid, 1), path, header.series_instance_uid)

    def broken(_self, _stored, _stack):
        raise LookupError("a value that is patient data")

    monkeypatch.setattr(SeriesRenderer, "render_stored", broken)
    with pytest.raises(InstanceError) as caught:
        SeriesRenderer(list_presets()[0]).render(frame)
    assert caught.value.reason == "render-failed"
    assert caught.value.detail.startswith("LookupError at test_damaged_images.py:")
