"""Plans of synthetic and real studies: complete, in order, and made without a pixel."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dicom_pipeline.cli.app import app
from dicom_pipeline.config import load_settings
from dicom_pipeline.dicom.same_content import same_content
from dicom_pipeline.domain import Outcome, Reason
from dicom_pipeline.errors import RuleError
from dicom_pipeline.planning import (
    account_of,
    default_rules,
    load_rules,
    plan_study,
    read_header,
    rules_from,
    scan,
    study_inputs,
)
from dicom_pipeline.planning.headers import Header
from dicom_pipeline.results.plan_json import plan_to_json
from tests.planning.made import synthetic


def headers_of(folder: Path) -> list[Header]:
    return [header for members in scan([folder]).studies.values() for header in members]


def plan_of(folder: Path, **options):
    return plan_study(headers_of(folder), default_rules(), **options)


def accounted(headers, plan):
    account = account_of(plan, {h.sop_instance_uid: "" for h in headers})
    assert sum(account.counts.values()) == len({h.sop_instance_uid for h in headers})
    return account.counts


@settings(max_examples=25, deadline=None)
@given(st.randoms())
def test_the_order_of_the_files_does_not_matter(random):
    headers = [synthetic(n) for n in range(12)]
    expected = plan_study(headers, default_rules(), selection="uniform:5")
    shuffled = headers[:]
    random.shuffle(shuffled)
    assert plan_study(shuffled, default_rules(), selection="uniform:5") == expected


def test_slices_follow_position_and_not_instance_number():
    headers = [synthetic(n, InstanceNumber=100 - n) for n in range(6)]
    (series,) = plan_study(headers, default_rules()).series
    assert [f.position_mm for f in series.frames] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_gantry_tilt_is_ordered_along_the_normal_and_said():
    headers = [synthetic(n, ImagePositionPatient=[0, n * 1.0, n * 2.0]) for n in range(5)]
    (series,) = plan_study(headers, default_rules()).series
    assert "gantry tilt" in series.order_note
    assert [f.position_mm for f in series.frames] == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_without_geometry_the_order_is_by_instance_number_and_says_so():
    headers = [synthetic(n, ImagePositionPatient=None) for n in (3, 1, 2)]
    (series,) = plan_study(headers, default_rules()).series
    assert "Instance Number" in series.order_note
    by_uid = {h.sop_instance_uid: h.number("InstanceNumber") for h in headers}
    assert [by_uid[f.key.sop_instance_uid] for f in series.frames] == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALIZER),
        ({"SeriesDescription": "Topogram 0.6"}, Reason.LOCALIZER),
        ({"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]}, Reason.DERIVED),
        ({"Modality": "ZZ"}, Reason.MODALITY_NOT_CHOSEN),
        ({"Manufacturer": "dicom_pipeline"}, Reason.OWN_OBJECT),
        ({"Rows": None}, Reason.MISSING_ATTRIBUTE),
    ],
)
def test_what_is_left_out_has_its_reason(values, reason):
    plan = plan_study([synthetic(1, **values)], default_rules())
    assert [item.reason for item in plan.all_excluded] == [reason]
    assert not plan.frames


def test_rules_choose_preset_kernel_and_caps():
    rules = rules_from(
        {
            "render": [
                {"ConvolutionKernel": "^B[56]", "preset": "ct-single:lung"},
                {"preset": "ct-single", "Modality": ["CT"]},
            ],
            "exclude": [{"SliceThickness": {"min": 5.0}, "reason": "series-not-chosen"}],
            "series": {"most": 1},
        }
    )
    sharp, thick = synthetic(1, ConvolutionKernel="B60f"), synthetic(2, SliceThickness="8")
    assert plan_study([sharp], rules).series[0].preset == "ct-single:lung"
    assert plan_study([thick], rules).excluded[0].reason is Reason.SERIES_NOT_CHOSEN


@pytest.mark.parametrize(
    "table",
    [
        {"renders": []},
        {"render": [{"selection": "all"}]},
        {"render": [{"preset": "x", "NoSuchKeyword": "y"}]},
        {"render": [{"preset": "x", "Modality": "("}]},
        {"exclude": [{"reason": "no-such-reason"}]},
        {"series": {"most": 0}},
    ],
)
def test_a_wrong_rule_table_is_refused(table):
    with pytest.raises(RuleError):
        rules_from(table)


@pytest.mark.parametrize(
    "name", ["ct_ge_head", "ct_philips_tilt_s2010", "mr_ge_nih", "mr_siemens_mosaic", "mr_t1_slab"]
)
def test_real_studies_are_planned_to_the_instance(corpus, name):
    headers = headers_of(corpus / name)
    plan = plan_study(headers, default_rules())
    counts = accounted(headers, plan)
    expected = {
        "ct_ge_head": 28,
        "ct_philips_tilt_s2010": 28,
        "mr_ge_nih": 15,
        "mr_siemens_mosaic": 4,
        "mr_t1_slab": 64,
    }
    assert counts[Outcome.USED] == expected[name]


def test_every_file_of_pydicom_is_planned_or_has_a_reason():
    found = scan([Path(pydicom.data.__file__).parent / "test_files"])
    assert len(found.studies) > 30
    for headers in found.studies.values():
        plan_to_json(plan := plan_study(headers, default_rules()), {}, account_of(plan, {}))
        accounted(headers, plan)


def test_a_plan_decodes_no_pixel(corpus, tmp_path):
    """The plan of files that end where their pixel data begins equals the plan of the whole files."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    for path in sorted((corpus / "ct_ge_head").glob("*.dcm"))[:6]:
        content = path.read_bytes()
        (whole / path.name).write_bytes(content)
        (cut / path.name).write_bytes(content[: content.rindex(b"\xe0\x7f\x10\x00")])
    plans = []
    for folder in (whole, cut):
        headers = headers_of(folder)
        plans.append(plan_to_json(plan_study(headers, default_rules()), {}, account_of(plan_of(folder), {})))
    assert plans[0] == plans[1]
    assert len(plans[0]["series"][0]["frames"]) == 6


def test_the_same_uid_twice_is_a_duplicate_or_a_conflict(sample_data, tmp_path):
    source = sorted((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))[0]
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(source.read_bytes())
    changed = pydicom.dcmread(source)
    changed.ViewPosition = "AP"
    changed.save_as(tmp_path / "c.dcm")
    found = scan([tmp_path])
    reasons = [item.reason for items in found.excluded.values() for item in items]
    assert reasons == [Reason.DUPLICATE, Reason.CONTENT_CONFLICT]


def test_the_same_uid_in_two_syntaxes_is_a_duplicate(sample_data, tmp_path):
    source = sorted((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))[0]
    (tmp_path / "a.dcm").write_bytes(source.read_bytes())
    anew = pydicom.dcmread(source)
    anew.decompress(generate_instance_uid=False)
    anew.save_as(tmp_path / "b.dcm")
    anew.ViewPosition = "AP"
    anew.save_as(tmp_path / "c.dcm")
    (inputs,) = study_inputs([tmp_path], same_content)
    assert [item.reason for item in inputs.excluded] == [Reason.DUPLICATE, Reason.CONTENT_CONFLICT]
    (headers,) = scan([tmp_path], same_content).studies.values()
    assert [header.path.name for header in headers] == ["a.dcm"]
    result = CliRunner().invoke(app, ["explain", str(tmp_path), "--json"])
    (study,) = json.loads(result.output)["studies"]
    assert [item["reason"] for item in study["excluded"]][-2:] == ["duplicate", "content-conflict"]


def test_a_conflict_does_not_change_what_became_of_the_instance_that_was_kept(sample_data):
    plan = plan_of(sample_data / "studies" / "mr-brain-normal", selection="uniform:2")
    skipped = next(item for item in plan.all_excluded if item.reason.outcome is Outcome.EXCLUDED)
    conflict = replace(skipped, reason=Reason.CONTENT_CONFLICT)
    both = replace(plan, excluded=(*plan.excluded, conflict))
    instances = {skipped.sop_instance_uid: ""}
    assert account_of(both, instances) == account_of(plan, instances)


def test_headers_of_odd_files_raise_only_reasons(tmp_path):
    from dicom_pipeline.domain import InstanceError

    for index, content in enumerate([b"", b"text", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 64]):
        path = tmp_path / str(index)
        path.write_bytes(content)
        with warnings.catch_warnings(), pytest.raises(InstanceError):
            read_header(path)


def test_the_setting_keep_lifts_a_reason(tmp_path):
    settings_file = tmp_path / "pipeline.toml"
    settings_file.write_text('[planning]\nkeep = ["localizer"]\n')
    kept = load_rules(None, load_settings(settings_file).planning.keep)
    assert kept.keep == {Reason.LOCALIZER}
    assert kept.digest != default_rules().digest
    assert load_rules(None).digest == default_rules().digest
    with pytest.raises(RuleError, match="no-such-reason"):
        load_rules(None, ["no-such-reason"])
