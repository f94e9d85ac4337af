"""Headless Chromium: what a person would see of a page, and after pressing what is on it."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

from tests.peers.programs import need

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,900")


def browse(url: str, folder: Path, *, milliseconds: int = 8000) -> tuple[str, Path]:
    """The page's DOM after its scripts ran (in virtual time), and a screenshot of it."""
    picture = folder / "page.png"
    command = [need("chromium"), *OPTIONS]
    command += [f"--user-data-dir={folder / 'profile'}", f"--virtual-time-budget={milliseconds}"]
    subprocess.run([*command, f"--screenshot={picture}", url], capture_output=True, check=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", url], capture_output=True, check=True, timeout=120)
    return dom.stdout.decode(), picture


class Browser:
    """One page that can be looked at and used, over Chromium's debugging pipe (descriptors 3 and 4, zero-ended JSON)."""

    def __init__(self, folder: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [need("chromium"), *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--remote-debugging-pipe"]
        redirected = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command]
        self._process = subprocess.Popen(redirected, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._count, self._session, self._read = 0, "", b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._out.close()
        self._in.close()

    def visit(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def run(self, script: str):
        """The value of a JavaScript expression in the page."""
        return self._call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str, seconds: float = 60):
        """The expression's value once it is true; an exception while the page still loads counts as not yet."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"{script} never became true: {self.run('document.body.innerText')[:6000]}"
            time.sleep(0.1)
        return value

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **values):
        self._count += 1
        order = {"id": self._count, "method": method, "params": values}
        if self._session:
            order["sessionId"] = self._session
        self._out.write(json.dumps(order).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _message(self) -> bytes:
        while b"\0" not in self._read:
            more = self._in.read1(2**20)
            assert more, "Chromium ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return message
