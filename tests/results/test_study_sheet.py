"""The contact sheet names its study, series and images as a person does, and marks what is out of domain."""

import numpy as np
import pytest

from dicom_pipeline.domain import Domain, FrameDomain, Rendering, Score, ScoreKind, study_name
from dicom_pipeline.reporting import study_name_of
from dicom_pipeline.results.study_sheet import sheet_groups, study_sheet
from tests.planning.made import plan_of, stack

PICTURE = np.zeros((448, 448, 3), np.uint8)


@pytest.fixture
def study():
    """Two CT series of 4 images each: plan, headers, and a rendering of every second frame."""
    headers = stack(4, SeriesNumber=2, SeriesDescription="Chest", StudyDescription="CT Thorax", StudyDate="20260105")
    headers += stack(4, series="1.4", SeriesNumber=5, SeriesDescription="Chest", AccessionNumber="A4711")
    plan = plan_of(headers)
    return plan, {h.sop_instance_uid: h.dataset for h in headers}, [Rendering(f, PICTURE) for f in plan.frames[::2]]


def score(frame, label, value):
    return Score(label, value, ScoreKind.ZERO_SHOT_SIGMOID, frame.series_instance_uid, frame.key)


def test_series_are_groups_and_images_have_their_numbers_and_places(study):
    plan, headers, renderings = study
    groups = sheet_groups(plan, headers, renderings, [], {})
    assert [g.heading.split(":")[0] for g in groups] == ["CT Chest (series 2)", "CT Chest (series 5)"]
    assert all("2 of 4 inputs, ct-" in g.heading for g in groups)
    assert [p.name for p in groups[0].pictures] == ["image 0 at 0 mm", "image 2 at 4 mm"]


def test_the_highest_score_of_a_frame_stands_under_it_and_its_mark(study):
    plan, headers, renderings = study
    first, second = renderings[0].frame, renderings[1].frame
    scores = [score(first, "Nodule", 0.2), score(first, "Effusion", 0.7), score(second, "Nodule", 0.1)]
    domains = {first.key: FrameDomain(Domain.OUT, 1.5), second.key: FrameDomain(Domain.IN, 0.5)}
    pictures = sheet_groups(plan, headers, renderings, scores, domains)[0].pictures
    assert [(p.note, p.warning) for p in pictures] == [("Effusion 0.70", "OUT OF DOMAIN"), ("Nodule 0.10", "")]
    assert study_sheet(plan, headers, renderings, scores=scores, domains=domains).width > 400


def test_a_study_is_called_by_description_date_and_accession_number(study):
    assert study_name_of(study[1]) == "CT Thorax, 2026-01-05, accession A4711"
    assert study_name(" ", "2026.01.05", "") == "study without a description, 2026.01.05"
    assert study_name_of({}) == "study without a description"
