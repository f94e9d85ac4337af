"""Each HTTP status of a STOW-RS store that the Conformance Statement lists is provoked, and it lists no other."""

import re
from pathlib import Path

import pytest

from dicom_pipeline.config import Settings
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.storage import Storage
from tests.peers.web import context_of, served
from tests.web.test_uploads import STOW, instance, multipart

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "conformance.md").read_text()
ROUTE = "/dicom-web/studies"


def stated() -> set[int]:
    table = PAGE.split("| status as origin server of Store |")[1].split("\n\n")[0]
    return {int(status) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for status in cell.split(", ")}


def context(folder, catalog, **service):
    sections = {"spool": {"folder": folder, "min_free_bytes": 0}, "service": {"web_port": 1, **service}}
    return context_of(Settings(**sections), catalog)


@pytest.fixture
def catalog_fails(monkeypatch):
    """A function that lets every transaction of a receiver fail from then on."""

    def fail(error):
        def commit(*_):
            raise error

        monkeypatch.setattr(Storage, "commit", commit)

    return fail


def test_the_statuses_of_store(tmp_path, catalog, monkeypatch, catalog_fails):
    found = set()
    bad = b"no DICOM at all"
    with served(context(tmp_path, catalog)) as site:
        for body in (multipart(instance()), multipart(instance(), bad), multipart(bad), b"no multipart"):
            found.add(site.ask("POST", ROUTE, body, STOW)[0])
        found.add(site.ask("POST", ROUTE, multipart(instance()), STOW | {"Origin": "http://example.org"})[0])
        assert found == {200, 202, 409, 400, 403}
        monkeypatch.setattr("dicom_pipeline.web.uploads.CHUNK_SECONDS", 0.2)
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {STOW['Content-Type']}\r\nContent-Length: 900\r\n"
        said = site.raw(f"{head}\r\n".encode() + multipart(bad)[:20], finish=False)
        found.add(int(said.split()[1]))
        monkeypatch.undo()
        for error in (CatalogError("locked"), RuntimeError("unforeseen")):
            catalog_fails(error)
            found.add(site.ask("POST", ROUTE, multipart(instance()), STOW)[0])
    monkeypatch.undo()
    monkeypatch.setenv("WEB_TOKEN", "secret")
    with served(context(tmp_path, catalog, web_token_env="WEB_TOKEN")) as site:
        found.add(site.ask("POST", ROUTE, multipart(instance()), STOW)[0])
    assert found == stated()


def test_what_the_answer_holds(tmp_path, catalog):
    """A Referenced and a Failed SOP Sequence, without Retrieve URLs; the study in the path is not compared."""
    with served(context(tmp_path, catalog)) as site:
        status, answer = site.ask("POST", f"{ROUTE}/1.2.3", multipart(instance(), instance(StudyInstanceUID="")), STOW)
    assert status == 202
    assert set(answer) == {"00081199", "00081198"}
    (stored,), (failed,) = answer["00081199"]["Value"], answer["00081198"]["Value"]
    assert set(stored) == {"00081150", "00081155"}
    assert failed["00081197"]["Value"] == [0xA900]
