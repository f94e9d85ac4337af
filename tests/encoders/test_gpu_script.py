"""benchmarks/gpu.sh and what it runs, as far as a machine without a GPU can tell: the same classes, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHANTOM = ROOT / "dicom_pipeline" / "data" / "phantom"
NOT_THERE = (
    "pydicom",
    "highdicom",
    "pynetdicom",
    "platformdirs",
    "pydantic",
    "pyarrow",
    "starlette",
    "typer",
    "sqlglot",
)
"""What the machine with the GPU lacks."""


def test_an_encoder_needs_nothing_but_torch_and_transformers(tmp_path):
    code = (
        "import sys, numpy\n"
        "from dicom_pipeline.encoders import load_encoder\n"
        f"encoder = load_encoder({str(PHANTOM)!r}, device='cpu')\n"
        "assert encoder.encode_images(numpy.zeros((1, 448, 448, 3), numpy.uint8)).shape == (1, encoder.dimension)\n"
        "assert encoder.encode_texts(['a nodule']).shape == (1, encoder.dimension)\n"
        f"print([name for name in {NOT_THERE!r} if name in sys.modules])"
    )
    environment = {**os.environ, "DICOM_PIPELINE_CACHE": str(tmp_path), "DICOM_PIPELINE_MODELS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_measurements_run_and_find_the_encoder_right(tmp_path):
    folders = os.pathsep.join(str(ROOT / name) for name in ("", "benchmarks", "sample_data"))
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--device", "cpu", "--model", PHANTOM, "--images", "4"]
    environment = {**os.environ, "PYTHONPATH": folders}
    subprocess.run(
        [*command, "--out", tmp_path / "gpu.json"], check=True, capture_output=True, cwd=tmp_path, env=environment
    )
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["least_cosine_with_float32"] > 0.99
    assert found["batch_invariant"]
    assert found["encoder"] > 0
    assert found["plain_loop"] > 0
    assert 0 < found["encoder_share_of_peak"] < 2


def test_without_a_gpu_the_script_says_so(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path)}
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (2, "no CUDA device")
    assert list(tmp_path.iterdir()) == []
