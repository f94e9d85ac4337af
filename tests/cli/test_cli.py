"""The command line: files written, exit statuses, errors that say what to do."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image

from dicom_pipeline import Pipeline
from dicom_pipeline.config import load_settings
from dicom_pipeline.config.settings_text import settings_text
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.errors import ConfigError


def run(*arguments, status=0):
    result = subprocess.run(
        [sys.executable, "-m", "dicom_pipeline", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == status, result.stderr + result.stdout
    return result


def run_unprivileged(*arguments):
    """The command without root's right to pass over permissions, whoever runs the tests."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*drop, sys.executable, "-m", "dicom_pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def processed(tmp_path_factory, sample_data):
    out = tmp_path_factory.mktemp("out")
    run("process", sample_data / "studies", "--out", out, "--select", "uniform:3")
    return out


def test_process_writes_what_scripts_rely_on(processed):
    table = pq.read_table(processed / "embeddings.parquet")
    plan = json.loads((processed / "plan.json").read_text())
    assert {"sop_instance_uid", "series_instance_uid", "study_instance_uid", "frame", "embedding"} <= set(
        table.column_names
    )
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[160]"
    assert table.num_rows == sum(len(s["frames"]) for study in plan["studies"] for s in study["series"]) == 11
    for study in plan["studies"]:
        counts = study["instances"]
        assert counts["received"] == counts["used"] + counts["excluded"] + counts["failed"]
    assert plan["other_files"][0].endswith("truth.csv")
    assert len(list((processed / "reports").glob("*.dcm"))) == 5
    with Image.open(processed / "contact_sheet.png") as sheet:
        assert sheet.width > 400
    page = (processed / "report.html").read_text()
    assert "Research use only" in page
    assert "its scores mean nothing on patients" in page


def test_processing_again_gives_the_same_bytes(processed, tmp_path, sample_data):
    run("process", sample_data / "studies", "--out", tmp_path, "--select", "uniform:3")
    for name in [p.relative_to(processed) for p in (processed / "reports").glob("*.dcm")] + ["scores.csv", "plan.json"]:
        assert (tmp_path / name).read_bytes() == (processed / name).read_bytes()


def test_python_gives_the_same_values(processed, sample_data):
    result = Pipeline.from_config(selection="uniform:3").process_study([sample_data / "studies" / "ct-chest-nodule"])
    table = pq.read_table(processed / "embeddings.parquet").to_pylist()
    rows = {(r["sop_instance_uid"], r["frame"]): r["embedding"] for r in table}
    for embedding in result.embeddings:
        key = embedding.frame.key
        np.testing.assert_allclose(embedding.vector, rows[key.sop_instance_uid, key.frame], rtol=1e-4, atol=1e-5)
    path = processed / "reports" / f"{result.report.SOPInstanceUID}.dcm"
    assert pydicom.dcmread(path).SOPInstanceUID == result.report.SOPInstanceUID
    assert path.read_bytes() == encode(result.report)


def test_explain_writes_the_pixels_that_the_encoder_gets(tmp_path, sample_data):
    folder = sample_data / "studies" / "mr-brain-lesion"
    result = run("explain", folder, "--out", tmp_path, "--select", "middle:2", "--json")
    plan = json.loads(result.stdout)
    (series,) = plan["studies"][0]["series"]
    pipeline = Pipeline.from_config(selection="middle:2", keep_renderings=9)
    renderings = pipeline.process_study([folder]).renderings
    assert len(renderings) == len(series["frames"]) == 2
    for rendering in renderings:
        key = rendering.frame.key
        with Image.open(tmp_path / "renderings" / f"{key.sop_instance_uid}-{key.frame}.png") as image:
            png = np.asarray(image)
        np.testing.assert_array_equal(png, rendering.pixels)


def test_explain_loads_no_model(sample_data):
    code = (
        "import sys; from dicom_pipeline.cli.app import app\n"
        f"try: app(['explain', r'{sample_data}', '--json'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["process", "/no/such/file", "--out", "x"], "no file or folder"),
        (["explain", ".", "--select", "best:3"], "uniform:N"),
        (["explain", ".", "--preset", "sepia"], "ct-medgemma-report"),
        (["send", ".", "nowhere"], "AET@host:port"),
        (["status", "--config", "none.toml"], "dicom-pipeline init"),
        (["serve", "--config", "none.toml"], "dicom-pipeline init"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_to_do(arguments, words, sample_data):
    if "." in arguments:
        arguments[arguments.index(".")] = str(sample_data / "studies" / "cr-chest-normal")
    assert words in run(*arguments, status=2).stderr


def test_what_failed_exits_with_1(tmp_path, sample_data):
    source = sorted((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))[0]
    (tmp_path / "cut.dcm").write_bytes(source.read_bytes()[:20000])
    result = run("process", tmp_path / "cut.dcm", "--out", tmp_path / "out", status=1)
    assert "decode-failed" in result.stdout or "truncated" in result.stdout


def test_the_settings_file_of_init_is_valid_and_whole(tmp_path):
    run("init", tmp_path / "p.toml")
    settings = load_settings(tmp_path / "p.toml")
    assert settings.peers[0].path == tmp_path / "reports"
    assert settings.listener == load_settings().listener
    assert "already" in run("init", tmp_path / "p.toml", status=2).stderr
    assert "hard_cap_seconds" in settings_text()


def test_wrong_settings_name_the_key(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[listener]\nprot = 1\n[encoder]\nbatch_size = 0\n[[peers]]\ntype = "fax"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    for words in ("listener.prot", "no such setting", "encoder.batch_size", '"folder"'):
        assert words in str(caught.value)


def test_show_prints_a_report_and_doctor_says_what_it_finds(processed):
    report = next((processed / "reports").glob("*.dcm"))
    assert "Research use only" in run("show", report).stdout
    assert json.loads(run("show", report, "--json").stdout)["revision"] == 1
    checks = {c["check"]: c for c in json.loads(run("doctor", "--json").stdout)}
    assert "cpu-" in checks["encoder phantom"]["says"] or "cuda-" in checks["encoder phantom"]["says"]
    assert len(json.loads(run("presets", "--json").stdout)) == 10
    assert len(json.loads(run("labels", "--json").stdout)) == 5


def test_what_cannot_be_opened_is_named_and_the_rest_goes_on(tmp_path, sample_data):
    folder, shut = tmp_path / "in", tmp_path / "in" / "shut"
    shut.mkdir(parents=True)
    source = next((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))
    (folder / "good.dcm").write_bytes(source.read_bytes())
    (folder / "locked.dcm").write_bytes(source.read_bytes())
    (folder / "locked.dcm").chmod(0)
    shut.chmod(0)
    result = run_unprivileged("explain", folder, "--json")
    assert "Traceback" not in result.stderr
    assert [study["instances"]["received"] for study in json.loads(result.stdout)["studies"]] == [1]
    told = run_unprivileged("explain", folder)
    shut.chmod(0o700)
    assert told.returncode == 1
    assert "locked.dcm" in told.stdout
    assert str(shut) in told.stdout


def test_a_folder_that_may_not_be_written_is_said_before_the_work(tmp_path, sample_data):
    (tmp_path / "mine").mkdir(mode=0o555)
    result = run_unprivileged(
        "process", sample_data / "studies" / "cr-chest-normal", "--out", tmp_path / "mine" / "out"
    )
    assert result.returncode == 1
    assert result.stderr.strip() == f"dicom-pipeline: Permission denied: {tmp_path / 'mine' / 'out'}"


def test_no_report_for_want_of_a_label_is_said_so(tmp_path, sample_data):
    study = sample_data / "studies" / "mr-brain-normal"
    result = run("process", study, "--out", tmp_path, "--label-set", "cxr-13", "--select", "uniform:1")
    assert "no label of the chosen label sets applies" in result.stderr
    page = (tmp_path / "report.html").read_text()
    assert "no label of the chosen label sets applies" in page
    assert "no usable image" not in page


@pytest.mark.parametrize(("content", "words"), [(b"", "is not a DICOM file"), (None, "no file at")])
def test_show_says_what_it_expected(tmp_path, content, words):
    path = tmp_path / "x.dcm"
    if content is not None:
        path.write_bytes(content)
    said = run("show", path, status=2).stderr
    assert words in said
    assert "force" not in said


def test_doctor_takes_the_settings_that_lie_there_and_goes_on_after_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text(
        '[[peers]]\ntype = "orthanc"\nname = "o"\nurl = "http://127.0.0.1:9"\n'
        'username = "u"\npassword_env = "NOT_SET_HERE"\n'
    )
    checks = {c["check"]: c for c in json.loads(run("doctor", "--json", status=1).stdout)}
    assert checks["settings"]["says"] == "pipeline.toml"
    assert "NOT_SET_HERE" in checks["destinations"]["says"]
    assert "encoder phantom" in checks


def test_no_pages_with_port_0(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("[service]\nweb_port = 0\n")
    assert load_settings(path).service.web_port is None
    path.write_text("[service]\nweb_port = -1\n")
    with pytest.raises(ConfigError, match="web_port"):
        load_settings(path)


@pytest.mark.parametrize("command", ["process", "demo"])
def test_what_no_earlier_run_made_is_not_replaced(command, tmp_path, sample_data):
    """`--out .` beside a folder of delivered reports: nothing of it is touched, and nothing else in there."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "delivered.dcm").write_bytes(b"kept")
    (tmp_path / "thesis.txt").write_text("kept")
    words = [command, "--out", str(tmp_path)]
    words += (
        [str(sample_data / "studies" / "cr-chest-normal")] if command == "process" else ["--data", str(sample_data)]
    )
    result = run(*words, status=2)
    assert "give --out a folder of its own" in result.stderr
    assert (tmp_path / "reports" / "delivered.dcm").read_bytes() == b"kept"
    assert (tmp_path / "thesis.txt").read_text() == "kept"
    assert not (tmp_path / "plan.json").exists()


def test_the_version_is_told():
    assert re.fullmatch(r"dicom-pipeline \d+\.\d+\.\d+\n", run("--version").stdout)
