"""The pages in a real browser: a study comes and finishes before one's eyes, is opened, and a dead letter is retried."""

import subprocess
from contextlib import contextmanager

import pydicom
import pytest

from tests.peers.chromium import Browser
from tests.peers.made import dicom_node
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

CT_ONLY = """
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = LittleEndianImplicit
[[PresentationContexts]]
[Some]
PresentationContext1 = VerificationSOPClass\\Plain
PresentationContext2 = CTImageStorage\\Plain
[[Profiles]]
[CTOnly]
PresentationContexts = Some
"""
"""A configuration of dcmtk's storescp that takes no reports."""

LIVE = "document.getElementById('live-state').dataset.state === 'on'"
ROWS = "[...document.querySelectorAll('tbody tr')]"
WIDTHS = (1280, 768, 375)

# what a page must not have done by itself: break its own policy, or fail
WATCH = """
window.broken = [];
document.addEventListener('securitypolicyviolation', e => broken.push(e.violatedDirective + ' ' + e.blockedURI));
window.addEventListener('error', e => broken.push(String(e.message)));
"""


@contextmanager
def storescp(folder, port, *, reports: bool):
    """A PACS; reports: whether it takes Structured Reports."""
    folder.mkdir(exist_ok=True)
    (folder / "ct-only.cfg").write_text(CT_ONLY)
    options = ["--promiscuous"] if reports else ["--config-file", folder / "ct-only.cfg", "CTOnly"]
    command = [need("storescp"), *options, "-aet", "PACS", "-od", folder, str(port)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: dicom_node("PACS", port).echo() == "", 60, "storescp does not answer")
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def service(tmp_path):
    """A service that delivers to a PACS on `pacs_port`."""
    port = free_port()
    peer = f'[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
    made = Service(tmp_path / "service", peer)
    made.pacs_port = port
    made.start()
    yield made
    assert made.stop() == 0


def size(browser, width, scheme="light"):
    browser._call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    browser._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def open_page(browser, url):
    browser._call("Page.enable")
    browser._call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    browser.visit(url)
    browser.wait(f"location.href === {url!r} && document.readyState === 'complete' && {LIVE}")


def test_a_study_is_followed_from_its_arrival_to_a_dead_letter_that_is_retried(service, tmp_path, sample_data):
    site, pacs = f"http://127.0.0.1:{service.web}", tmp_path / "pacs"
    with Browser(tmp_path) as browser, storescp(pacs, service.pacs_port, reports=False):
        size(browser, 1280)
        open_page(browser, f"{site}/")
        assert "No study has come yet." in browser.run("document.body.innerText")
        browser.run("window.same = true")
        assert service.dcmsend(sample_data / "studies" / "ct-chest-nodule").returncode == 0
        browser.wait(f"{ROWS}.length === 1")
        browser.wait(f"{ROWS}[0].innerText.includes('done') && {ROWS}[0].innerText.includes('1 set aside')", 120)
        assert browser.run("window.same")  # the page was never loaded again
        asked = "performance.getEntriesByType('resource').filter(e => e.name.includes('/live/')).length"
        assert browser.run(asked) <= 1  # it asked once, and did not poll
        assert browser.run("broken") == []
        browser.run(f"{ROWS}[0].querySelector('a').click()")
        browser.wait(f"location.pathname.startsWith('/studies/') && document.readyState === 'complete' && {LIVE}")
        text = browser.run("document.body.innerText")
        for words in ("Synthetic ct-chest-nodule", "Nodule", "Set aside for pacs", "Research use only"):
            assert words in text, words
        browser.wait("document.querySelector('img.sheet').naturalWidth > 0")
        assert browser.run("broken") == []
        open_page(browser, f"{site}/outbox")
        assert "Dead letters (set aside)\n1" in browser.run("document.body.innerText")
        words = "accepts no presentation context for Comprehensive 3D SR Storage"
        assert words in browser.run("document.body.innerText")
    with Browser(tmp_path / "again") as browser, storescp(pacs, service.pacs_port, reports=True):
        open_page(browser, f"{site}/outbox")
        browser.run("document.querySelector('td form button').click()")
        browser.wait("document.body.innerText.includes('The delivery is pending again.')")
        browser.wait("document.body.innerText.includes('Nothing waits.')", 120)
        assert browser.run("broken") == []
        assert len([path for path in pacs.iterdir() if path.suffix != ".cfg"]) == 1


def send_wide(service, sample_data, folder):
    """Send a study of long texts; its UID."""
    folder.mkdir()
    dataset = pydicom.dcmread(next((sample_data / "studies" / "cr-chest-normal").glob("*.dcm")))
    dataset.StudyDescription = dataset.SeriesDescription = "W" * 64
    dataset.AccessionNumber = "M" * 16
    dataset.save_as(folder / "wide.dcm")
    assert service.dcmsend(folder).returncode == 0
    return str(dataset.StudyInstanceUID)


def test_every_page_fits_every_screen_and_says_so_without_scripts(service, tmp_path, sample_data):
    """64 characters without a space, the most of a description (PS3.5 section 6.2), at every place that shows one."""
    site = f"http://127.0.0.1:{service.web}"
    uid = send_wide(service, sample_data, tmp_path / "wide")
    done = ["done"]
    wait_until(lambda: [r["state"] for r in service.status()["revisions"]] == done, 120, "the study is not processed")
    with Browser(tmp_path) as browser:
        for path in ("/", f"/studies/{uid}", "/outbox"):
            for width in WIDTHS:
                size(browser, width)
                open_page(browser, f"{site}{path}")
                assert browser.run("document.documentElement.scrollWidth") == width, (path, width)
        browser._call("Emulation.setScriptExecutionDisabled", value=True)
        browser.visit(f"{site}/studies/{uid}")
        browser.wait("document.body.innerText.includes('reload it')")
        browser.wait("document.body.innerText.includes('Process again')")
