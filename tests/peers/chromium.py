"""Headless Chromium: what a person would see of a page."""

import subprocess
from pathlib import Path

from tests.peers.programs import need


def browse(url: str, folder: Path, *, milliseconds: int = 8000) -> tuple[str, Path]:
    """The page's DOM after its scripts ran (in virtual time), and a screenshot of it."""
    picture = folder / "page.png"
    command = [
        need("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=1200,900",
    ]
    command += [f"--user-data-dir={folder / 'profile'}", f"--virtual-time-budget={milliseconds}"]
    subprocess.run([*command, f"--screenshot={picture}", url], capture_output=True, check=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", url], capture_output=True, check=True, timeout=120)
    return dom.stdout.decode(), picture
