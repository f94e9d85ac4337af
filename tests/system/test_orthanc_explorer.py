"""The section in Orthanc Explorer and the readable report, in a real browser."""

import re

import pytest
from PIL import Image

from tests.peers.chromium import Browser, browse
from tests.peers.orthanc import Orthanc, with_our_plugin
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def seen(tmp_path_factory, sample_data):
    """An Orthanc that holds a reported study: Orthanc, the study's id, a series' id."""
    folder = tmp_path_factory.mktemp("explorer")
    orthanc = Orthanc(folder / "orthanc")
    service = Service(folder / "service", f'[[peers]]\ntype = "orthanc"\nname = "o"\nurl = "{orthanc.url}"\n')
    orthanc.options = with_our_plugin(Pipeline=f"http://127.0.0.1:{service.web}")
    orthanc.start()
    service.start()
    client = orthanc.client
    study = orthanc.upload_study(sample_data / "studies" / "ct-chest-nodule")

    def reported():
        return client.get_json(f"/medsiglip/studies/{study}/status")["state"] == "reported"

    wait_until(reported, 90, "no report came back")
    labels = client.get_json(f"/medsiglip/studies/{study}/status")["labels"]
    yield orthanc, study, labels[0]["series"]
    orthanc.stop()
    assert service.stop() == 0


def section_of(dom: str) -> str:
    found = re.search(r'<div class="medsiglip".*?Process now', dom, flags=re.DOTALL)
    assert found, "the page has no MedSigLIP section"
    return found[0]


@pytest.mark.parametrize("level", ["study", "series"])
def test_the_explorer_shows_state_labels_and_buttons(seen, level, tmp_path):
    orthanc, study, series = seen
    identifier = study if level == "study" else series
    dom, picture = browse(f"{orthanc.url}/app/explorer.html#{level}?uuid={identifier}", tmp_path)
    section = section_of(dom)
    for words in ("reported", "25 instances", "Nodule", "Research use only", ">Report<", "Contact sheet"):
        assert words in section, words
    assert "Find similar" in dom
    with Image.open(picture) as image:
        assert image.size == (1200, 900)
        assert len(image.convert("RGB").getcolors(2**20)) > 200  # a page with pictures, not a blank


def test_find_similar_lists_studies_that_can_be_opened(seen, sample_data, tmp_path):
    orthanc, ct, _ = seen
    client = orthanc.client
    study, lesion = (
        orthanc.upload_study(sample_data / "studies" / f"mr-brain-{name}") for name in ("normal", "lesion")
    )
    for uploaded in (study, lesion):
        status = f"/medsiglip/studies/{uploaded}/status"
        wait_until(lambda at=status: client.get_json(at)["state"] == "reported", 90, "no report came back")
    with Browser(tmp_path) as browser:
        browser.visit(f"{orthanc.url}/app/explorer.html#study?uuid={study}")
        button = "[...document.querySelectorAll('.medsiglip button')].find(b => b.textContent === 'Find similar')"
        browser.wait(f"{button} !== undefined")
        browser.run(f"{button}.click()")
        lines = "[...document.querySelectorAll('.medsiglip td a')]"
        browser.wait(f"{lines}.length === 2")
        found = browser.run(f"{lines}.map(a => [a.textContent, a.getAttribute('href')])")
        browser.screenshot(tmp_path / "similar.png")
        browser.run(f"{lines}[0].click()")
        browser.wait(f"location.hash === {found[0][1]!r}")
    assert [href.removeprefix("#study?uuid=") for _, href in found] == [lesion, ct]
    assert found[0][0] == "2026-01-05 Synthetic mr-brain-lesion"
    with Image.open(tmp_path / "similar.png") as image:
        assert len(image.convert("RGB").getcolors(2**20)) > 200
    page, _ = browse(f"{orthanc.url}/medsiglip/studies/{study}/similar?format=html", tmp_path)
    assert "Studies like 2026-01-05 Synthetic mr-brain-normal" in page
    assert [page.index(f"#study?uuid={one}") for one in (lesion, ct)] == sorted(
        page.index(f"#study?uuid={one}") for one in (lesion, ct)
    )


def test_a_person_searches_by_words(seen, sample_data, tmp_path):
    orthanc, study, _ = seen
    with Browser(tmp_path) as browser:
        browser.visit(f"{orthanc.url}/app/explorer.html#study?uuid={study}")
        href = "[...document.querySelectorAll('.medsiglip a')].find(a => a.textContent === 'Search by words').href"
        browser.visit(browser.wait(href))
        browser.wait("document.querySelector('input[name=text]') !== null")
        browser.run("document.querySelector('input[name=text]').value = 'a <b>chest</b> & 100% lungs'")
        browser.run("document.querySelector('form').requestSubmit()")
        browser.wait("document.querySelectorAll('td img').length > 0")
        assert browser.run("document.querySelector('input[name=text]').value") == "a <b>chest</b> & 100% lungs"
        assert "Research use only" in browser.run("document.body.innerText")
        browser.wait("[...document.querySelectorAll('td img')].every(i => i.complete && i.naturalWidth > 0)")
        browser.run("document.querySelector('td img').click()")
        browser.wait("location.hash.startsWith('#instance?uuid=')")


def test_the_report_page_is_readable(seen, tmp_path):
    orthanc, study, _ = seen
    dom, _ = browse(f"{orthanc.url}/medsiglip/studies/{study}/report?format=html", tmp_path)
    text = re.sub(r"<[^>]*>", " ", dom.split("</style>")[1])
    for words in (
        "MedSigLIP scores, revision 1",
        "Research use only",
        "CT Chest axial (synthetic)",
        "Nodule",
        "Maximum",
    ):
        assert words in text, words
    assert "No contact sheet" not in text


def test_long_words_stay_within_their_boxes(seen, sample_data, tmp_path):
    """64 characters without a space, the most of a description (PS3.5 section 6.2), at every place that shows one."""
    import io

    import pydicom

    orthanc, _, _ = seen
    client = orthanc.client
    dataset = pydicom.dcmread(next((sample_data / "studies" / "cr-chest-normal").glob("*.dcm")))
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        dataset[name].value += ".8"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyDescription = dataset.SeriesDescription = "W" * 64
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    study = client.instances.get_parent_study_id(client.upload(stream.getvalue())[0])
    status = f"/medsiglip/studies/{study}/status"
    wait_until(lambda: client.get_json(status)["state"] == "reported", 60, "no report came back")
    with Browser(tmp_path) as browser:
        browser.visit(f"{orthanc.url}/app/explorer.html#study?uuid={study}")
        sheet = "document.querySelector('.medsiglip img')"
        browser.wait(f"{sheet} !== null && {sheet}.naturalWidth > 0")
        box, table, picture = (
            browser.run(f"(({place}).getBoundingClientRect()).toJSON()")
            for place in ("document.querySelector('.medsiglip')", "document.querySelector('.medsiglip table')", sheet)
        )
        assert table["right"] <= picture["left"] < picture["right"] <= box["right"]
        assert table["top"] < picture["bottom"]  # beside the picture, not below it
        for page in ("report", "similar"):
            browser.visit(f"{orthanc.url}/medsiglip/studies/{study}/{page}?format=html")
            browser.wait("document.readyState === 'complete' && document.querySelector('h1') !== null")
            assert "W" * 64 in browser.run("document.body.textContent")
            assert browser.run("document.documentElement.scrollWidth") == 1200


def test_a_description_with_markup_stays_text(seen, sample_data, tmp_path):
    """What a sender writes into a description runs in nobody's browser."""
    import io

    import pydicom

    orthanc, _, _ = seen
    client = orthanc.client
    for path in sorted((sample_data / "studies" / "cr-chest-normal").glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID += ".9"
        dataset.SOPInstanceUID += ".9"
        dataset.SeriesInstanceUID += ".9"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesDescription = "<img src=x onerror=boom()>"
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        instance = client.upload(stream.getvalue())[0]
    study = client.instances.get_parent_study_id(instance)
    wait_until(
        lambda: client.get_json(f"/medsiglip/studies/{study}/status")["state"] == "reported", 60, "no report came back"
    )
    page, _ = browse(f"{orthanc.url}/medsiglip/studies/{study}/report?format=html", tmp_path)
    assert "<img src=x" not in page.replace('"', "")
    assert "&lt;img src=x onerror=boom()&gt;" in page
    section = section_of(browse(f"{orthanc.url}/app/explorer.html#study?uuid={study}", tmp_path)[0])
    assert "<img src=x" not in section.replace('"', "")
