"""Programs of other makers that the tests run; a test whose program is missing is skipped, by name."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
"""dcmtk's tools wait for acknowledgements without TCP_NODELAY."""

PIXELMED_JAR = Path("/usr/share/java/pixelmed.jar")


def need(program: str) -> str:
    """The path of a program, or a skip that names it."""
    ours = Path(sys.executable).parent  # in an activated environment pynetdicom's own storescp would hide dcmtk's
    folders = [p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p and Path(p) != ours]
    found = shutil.which(program, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if found is None:
        pytest.skip(f"{program} is not installed; `make peers` installs it where apt can be used")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float, what: str):
    """What the condition gives once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    pytest.fail(f"after {seconds} s: {what}")


def dciodvfy_errors(path: Path) -> list[str]:
    """Lines of dciodvfy that begin with Error or Abort."""
    result = subprocess.run(
        [need("dciodvfy"), "-new", path], capture_output=True, text=True, errors="replace", check=False
    )
    return [line for line in result.stderr.splitlines() if line.startswith(("Error", "Abort"))]


def dsrdump_errors(path: Path) -> list[str]:
    """Error lines of dsrdump; its exit status too must be 0."""
    result = subprocess.run([need("dsrdump"), path], capture_output=True, text=True, errors="replace", check=False)
    errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
    return errors or ([f"exit status {result.returncode}"] if result.returncode else [])


def pixelmed_errors(path: Path) -> list[str]:
    """Error lines of PixelMed's SR validator on one file."""
    return pixelmed_errors_of([path])[path]


def pixelmed_errors_of(paths: Iterable[Path], *, sr: bool = True) -> dict[Path, list[str]]:
    """Error lines of PixelMed's validator of SR, or else of other IODs, on each file.

    One JVM for all: its rules take ten seconds to load, and then a small document one or two. It says what it found, and
    never by its exit status: an SR whose root template it did not find, and an IOD it does not know, are errors here.
    """
    wanted = list(paths)
    need("javac")
    if not PIXELMED_JAR.exists():
        pytest.skip("PixelMed is not installed (Debian: pixelmed-apps)")
    limits = [f"-Djdk.xml.xpath{name}=0" for name in ("TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]
    loop = str(Path(__file__).with_name("PixelMedLoop.java"))
    command = [need("java"), *limits, "-cp", str(PIXELMED_JAR), loop, "sr" if sr else "instance"]
    lines = "".join(f"{path}\n" for path in wanted)
    result = subprocess.run(command, input=lines, capture_output=True, text=True, errors="replace", check=False)
    said = result.stdout.split("== done\n")[:-1]
    if len(said) != len(wanted):
        pytest.fail(f"PixelMed validated {len(said)} of {len(wanted)} files: {result.stderr[-2000:]}")
    sentences = ("Found Root Template", "IOD validation complete") if sr else ("IOD validation complete",)
    return {
        path: [line for line in text.splitlines() if line.startswith("Error")]
        + [f"PixelMed did not say {sentence!r}" for sentence in sentences if sentence not in text]
        for path, text in zip(wanted, said, strict=True)
    }
