"""Frames are decoded and rendered by processes that may die: what that costs is the frame, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dicom_pipeline.domain import Frame, FrameKey, InstanceError, Reason
from dicom_pipeline.imaging import SeriesRenderer, load_preset
from dicom_pipeline.pipeline.renderers import Renderers, RendererStartError, RenderLimits, child, dispatcher
from dicom_pipeline.pipeline.renderers.desk import RenderersClosedError
from dicom_pipeline.planning import default_rules, plan_study, scan
from tests.imaging.made import instance, write
from tests.peers.programs import wait_until
from tests.pipeline.renderers.odd_jobs import Abort, Loop, Pid, Print, ReadNowhere, Take, Wait

FRAME = Frame(FrameKey("1.2.3", 1), Path("none.dcm"), "1.2")


@pytest.fixture(scope="module")
def renderers():
    with Renderers(2, RenderLimits(frame_seconds=2, max_bytes=512 * 1024**2)) as made:
        yield made


def reason_of(future) -> Reason:
    error = future.exception(120)
    assert isinstance(error, InstanceError), error
    return error.reason


def series_of(folder: Path):
    (headers,) = scan([folder]).studies.values()
    return plan_study(headers, default_rules()).series


@pytest.mark.parametrize("processes", [1, 3])
def test_all_frames_are_what_they_are_without_processes(processes, sample_data):
    """Each preset of the rule table, also those that measure a whole stack."""
    compared = 0
    with Renderers(processes) as renderers:
        for folder in sorted((sample_data / "studies").glob("*/")):
            for series in series_of(folder):
                given = load_preset(series.preset), series.reference_frames
                here, there = SeriesRenderer(*given), renderers.series(*given)
                asked = [(frame, there.submit(frame)) for frame in series.frames]
                for frame, made in asked:
                    assert made.result(120).frame == frame
                    assert np.array_equal(made.result().pixels, here.render(frame).pixels)
                    compared += 1
        assert renderers.ended == {}
    assert compared > 30


@pytest.mark.parametrize("preset", ["mr-percentile", "mr-minmax", "own-window"])
def test_each_stack_is_measured_once_whatever_process_renders_it(preset, tmp_path):
    """Stacks of other values have other windows; a reference frame that cannot be decoded is left out."""
    frames = []
    for stack, spread in ((0, 1), (1, 50)):
        for number in range(5):
            values = (np.arange(64 * 64).reshape(64, 64) % (40 + number * spread)).astype(np.uint16)
            path = write(instance(values, Modality="MR"), tmp_path)
            frames.append(Frame(FrameKey(f"1.{stack}.{number}"), path, "1.3", stack=stack))
    frames.append(Frame(FrameKey("1.0.9"), tmp_path / "gone.dcm", "1.3"))
    here = SeriesRenderer(load_preset(preset), frames)
    expected = [here.render(frame).pixels for frame in frames[:-1]]
    assert not np.array_equal(expected[0], expected[5])
    with Renderers(2) as renderers:
        there = renderers.series(load_preset(preset), frames)
        made = [there.submit(frame) for frame in frames]
        for future, pixels in zip(made, expected, strict=False):
            assert np.array_equal(future.result(120).pixels, pixels)
        assert reason_of(made[-1]) is Reason.UNREADABLE


def test_a_stack_none_of_whose_reference_frames_can_be_read_is_measured_frame_by_frame(tmp_path, renderers):
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    frame = Frame(FrameKey("1.1"), write(instance(values, Modality="MR"), tmp_path), "1.3")
    lost = [Frame(FrameKey("1.9"), tmp_path / "gone.dcm", "1.3")]
    made = renderers.series(load_preset("mr-percentile"), lost).render(frame)
    alone = SeriesRenderer(load_preset("mr-percentile")).render(frame)
    assert np.array_equal(made.pixels, alone.pixels)


@pytest.mark.parametrize(
    ("job", "reason", "how"),
    [
        (Abort(FRAME), Reason.DECODER_CRASHED, "SIGABRT"),
        (ReadNowhere(FRAME), Reason.DECODER_CRASHED, "SIGSEGV"),
        (Loop(FRAME), Reason.DECODER_TIMEOUT, "SIGXCPU"),
    ],
)
def test_what_ends_its_process_costs_itself_alone(renderers, job, reason, how, caplog):
    before = renderers.ended.get(how, 0)
    futures = [renderers.submit(each) for each in (Pid(), Pid(), job, *[Pid()] * 6)]
    assert reason_of(futures[2]) is reason
    assert all(future.result(120) for index, future in enumerate(futures) if index != 2)
    deaths = renderers.ended[how] - before
    assert deaths == (1 if reason is Reason.DECODER_TIMEOUT else dispatcher.MAX_DEATHS)
    assert f"a render process ended ({how}) while it worked on frame 1 of 1.2.3" in caplog.text


def test_more_memory_than_a_process_may_take_is_that_frames_failure(renderers):
    before = dict(renderers.ended)
    greedy, modest = renderers.submit(Take(FRAME, 600 * 1024**2)), renderers.submit(Take(FRAME, 10 * 1024**2))
    assert reason_of(greedy) is Reason.TOO_LARGE
    assert modest.result(60) == 10 * 1024**2
    assert renderers.ended == before


def test_a_frame_that_waits_for_ever_is_ended_by_the_clock(monkeypatch):
    monkeypatch.setattr(dispatcher, "WALL_SHARE", 1)
    with Renderers(1, RenderLimits(frame_seconds=2)) as renderers:
        stuck, behind = renderers.submit(Wait(FRAME)), renderers.submit(Pid())
        assert reason_of(stuck) is Reason.DECODER_TIMEOUT
        assert behind.result(60)
        assert renderers.ended == {"timeout": 1}


def test_what_a_decoder_prints_is_seen_nowhere(capfd):
    with Renderers(1) as renderers:
        renderers.submit(Print(FRAME)).result(60)
    assert "patient" not in "".join(capfd.readouterr())


def test_processes_that_are_killed_at_random_lose_nothing(sample_data):
    (series,) = series_of(sample_data / "studies" / "ct-chest-nodule")
    given = load_preset(series.preset), series.reference_frames
    here = SeriesRenderer(*given)
    rng = np.random.default_rng(7)
    stop = threading.Event()
    with Renderers(2) as renderers:

        def kill() -> None:
            while not stop.wait(rng.uniform(0.3, 0.6)):
                os.kill(int(renderers.submit(Pid(), first=True).result(60)), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for _ in range(8):
                made = [renderers.series(*given).submit(frame) for frame in series.frames]
                for frame, future in zip(series.frames, made, strict=True):
                    assert np.array_equal(future.result(120).pixels, here.render(frame).pixels)
        finally:
            stop.set()
            killer.join()
        assert renderers.ended["SIGKILL"] > 1


def test_a_process_that_cannot_be_started_is_an_error_and_may_work_later(monkeypatch, caplog):
    monkeypatch.setattr(dispatcher, "FIRST_START_SECONDS", 0.05)
    with Renderers(1) as renderers:
        with monkeypatch.context() as broken:
            broken.setattr(child.sys, "executable", "/nowhere/python")
            with pytest.raises(RendererStartError, match="No such file"):
                renderers.submit(Pid()).result(60)
        assert renderers.submit(Pid()).result(60)
    assert "cannot be started: No such file or directory; again in" in caplog.text


def test_a_program_that_dies_at_once_is_an_error_too(monkeypatch):
    monkeypatch.setattr(dispatcher, "FIRST_START_SECONDS", 0.05)
    monkeypatch.setattr(child, "PROGRAM", "dicom_pipeline.no_such_module")
    with Renderers(2) as renderers, pytest.raises(RendererStartError, match="exit 1"):
        renderers.submit(Pid()).result(60)


def test_after_closing_nothing_runs_and_nothing_is_waited_for():
    renderers = Renderers(2)
    pids = {int(renderers.submit(Pid()).result(60)) for _ in range(6)}
    stuck = [renderers.submit(Wait(FRAME)) for _ in range(6)]
    renderers.close()
    for future in (*stuck, renderers.submit(Pid())):
        with pytest.raises(RenderersClosedError):
            future.result(10)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_they_end_with_a_parent_that_is_killed():
    program = (
        "from dicom_pipeline.pipeline.renderers import Renderers\n"
        "from tests.pipeline.renderers.odd_jobs import Pid\n"
        "renderers = Renderers(1); print(int(renderers.submit(Pid()).result()), flush=True); input()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        wait_until(lambda: not _runs(pid), 30, "the render process outlives its parent")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_without_a_main_guard_works(tmp_path, sample_data):
    """A notebook or a first script has none; a pool that imports its parent's main module would start itself again."""
    script = tmp_path / "first.py"
    script.write_text(
        "from pathlib import Path\nfrom dicom_pipeline.pipeline.renderers import Renderers\n"
        "from dicom_pipeline.planning import read_header\nfrom dicom_pipeline.domain import Frame, FrameKey\n"
        f"path = next(Path({str(sample_data / 'studies' / 'ct-chest-nodule')!r}).glob('*.dcm'))\n"
        "print(Renderers(1).content(Frame(FrameKey('1'), path, '1')))\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120)
    assert 0 < float(done.stdout) < 1
    assert time.monotonic() - began < 120
