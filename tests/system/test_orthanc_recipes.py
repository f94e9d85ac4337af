"""The ways without the plug-in, each with a real Orthanc: Lua over C-STORE and over DICOMweb, polling; and secured ones."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.pulls import last_change
from tests.peers.certificates import Authority
from tests.peers.orthanc import Orthanc, with_our_plugin
from tests.peers.programs import ENVIRONMENT, need, wait_until
from tests.peers.service import Service
from tests.peers.tls_front import TlsFront

pytestmark = pytest.mark.system

LUA = Path(__file__).resolve().parents[2] / "plugins" / "orthanc" / "medsiglip.lua"
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER = ("anna", "a good secret")


def orthanc_destination(orthanc, more=""):
    user = f'username = "{orthanc.user[0]}"\npassword_env = "ORTHANC_PASSWORD"\n' if orthanc.user else ""
    return f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\n{user}{more}'


def script(folder, **values) -> str:
    """The Lua script with other values of its local variables."""
    text = LUA.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"^local {name} = \S+", f"local {name} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "medsiglip.lua").write_text(text)
    return str(folder / "medsiglip.lua")


def one_report_and_no_loop(orthanc, service, study, cause):
    wait_until(lambda: orthanc.reports_by_study() == {study: 1}, 90, "no report came back")
    time.sleep(4)  # the report's series becomes stable, which must start nothing
    assert orthanc.reports_by_study() == {study: 1}
    account = service.status()
    assert [r["cause"] for r in account["revisions"]] == [cause]
    assert account["refusals"] == {}
    assert account["totals"]["conflicts"] == 0


def test_lua_over_dicom(tmp_path, sample_data):
    orthanc = Orthanc(tmp_path / "orthanc", StableAge=1)
    service = Service(tmp_path / "service", orthanc_destination(orthanc), quiet=300)
    orthanc.options["LuaScripts"] = [script(tmp_path, PIPELINE=f"'http://127.0.0.1:{service.web}'")]
    orthanc.options["DicomModalities"] = {"medsiglip": ["DICOMPIPE", "127.0.0.1", service.port]}
    service.start()
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "ct-chest-nodule")
        one_report_and_no_loop(orthanc, service, study, "expected")
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_dicomweb_only(tmp_path, sample_data):
    """Instances come by STOW-RS from Orthanc's DICOMweb plugin, and the report goes back by STOW-RS: no DICOM port is used."""
    if not DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)")
    orthanc = Orthanc(tmp_path / "orthanc", USER, StableAge=1, Plugins=[str(DICOMWEB_PLUGIN)])
    service = Service(
        tmp_path / "service",
        f'[[peers]]\ntype = "dicomweb"\nname = "orthanc"\nurl = "{orthanc.url}/dicom-web"\n'
        f'username = "{USER[0]}"\npassword_env = "ORTHANC_PASSWORD"\n',
        quiet=300,
    )
    service.environment = {"ORTHANC_PASSWORD": USER[1]}
    url = f"http://127.0.0.1:{service.web}"
    orthanc.options["LuaScripts"] = [script(tmp_path, PIPELINE=f"'{url}'", DICOMWEB="true")]
    orthanc.options["DicomWeb"] = {"Enable": True, "Servers": {"medsiglip": [f"{url}/dicom-web/"]}}
    service.start()
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
        one_report_and_no_loop(orthanc, service, study, "expected")
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_polling_a_secured_orthanc(tmp_path, sample_data):
    """HTTPS with an authority of its own, a password, and a service that was killed and started again."""
    authority = Authority(tmp_path / "ca")
    orthanc = Orthanc(tmp_path / "orthanc", USER, StableAge=1)
    with TlsFront(orthanc.http, *authority.issue("orthanc")) as front:
        url = f"https://127.0.0.1:{front.port}"
        secured = f'url = "{url}"\nusername = "{USER[0]}"\npassword_env = "ORTHANC_PASSWORD"\n'
        secured += f'tls_ca = "{authority.certificate}"\n'
        service = Service(
            tmp_path / "service",
            f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\n{secured}'
            f'[[peers]]\ntype = "orthanc"\nname = "archive"\nroles = ["fetch"]\n{secured}fetch = {{interval_seconds = 0.5}}\n',
            quiet=300,
        )
        service.environment = {"ORTHANC_PASSWORD": USER[1]}
        orthanc.start()
        service.start()
        try:
            wait_until(lambda: cursor_of(service, f"archive {url}") is not None, 20, "the first look was not taken")
            service.kill()
            study = orthanc.upload_study(sample_data / "studies" / "cr-chest-normal")
            service.start()
            one_report_and_no_loop(orthanc, service, study, "expected")
            assert doctor(service, "orthanc")["ok"]
            assert doctor(service, "archive")["ok"]
        finally:
            orthanc.stop()
            assert service.stop() == 0


def cursor_of(service, source):
    catalog = Catalog(service.data / "catalog.sqlite")
    try:
        return last_change(catalog, source)
    finally:
        catalog.close()


def doctor(service, name=None):
    """What `doctor` says of one destination or source, or of all by name."""
    command = [sys.executable, "-m", "dicom_pipeline", "doctor", "--json", "--config", service.config]
    environment = {**os.environ, **service.environment}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    checks = [(entry["check"].split(), entry) for entry in json.loads(result.stdout)]
    found = {words[1]: entry for words, entry in checks if words[0] in ("destination", "source")}
    return found if name is None else found[name]


def test_doctor_names_what_is_wrong_with_an_orthanc(tmp_path):
    authority = Authority(tmp_path / "ca")
    locked = Orthanc(tmp_path / "a", USER)
    strict = Orthanc(tmp_path / "b", DicomCheckCalledAet=True, DicomAlwaysAllowStore=False, DicomAlwaysAllowEcho=False)
    rest = '[[peers]]\ntype = "orthanc"\nname = "{}"\nurl = "{}"\n'
    node = '[[peers]]\ntype = "dicom"\nname = "{}"\nhost = "127.0.0.1"\nport = {}\nae_title = "{}"\n'
    with TlsFront(locked.http, *authority.issue("orthanc")) as front:
        locked.start()
        strict.start()
        try:
            service = Service(
                tmp_path / "service",
                rest.format("untrusted", f"https://127.0.0.1:{front.port}")
                + rest.format("plain", f"http://127.0.0.1:{front.port}")
                + rest.format("locked", locked.url)
                + 'username = "eve"\npassword_env = "ORTHANC_PASSWORD"\n'
                + node.format("called", strict.dicom, "WRONG")
                + node.format("stranger", strict.dicom, "ORTHANC"),
            )
            service.environment = {"ORTHANC_PASSWORD": "guessed"}
            answers = doctor(service)
            assert "certificate is not trusted" in answers["untrusted"]["says"]
            assert "https://" in answers["plain"]["says"]
            assert "refuses the user name or password" in answers["locked"]["says"]
            assert "Called AE title not recognised" in answers["called"]["says"]
            assert "DicomModalities" in answers["stranger"]["says"]
            assert not any(answer["ok"] for answer in answers.values())
        finally:
            locked.stop()
            strict.stop()


def test_dicom_tls_both_ways_with_known_peers_only(tmp_path, sample_data):
    """The plug-in sends by C-STORE over TLS to a listener that wants a certificate; the report goes back the same way."""
    authority = Authority(tmp_path / "ca")
    orthanc_pem, orthanc_key = authority.issue("orthanc")
    our_pem, our_key = authority.issue("pipeline")
    tls = f'tls_ca = "{authority.certificate}"\ntls_certificate = "{our_pem}"\ntls_key = "{our_key}"\n'
    orthanc = Orthanc(tmp_path / "orthanc")
    destination = '[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
    service = Service(tmp_path / "service", f"{destination}port = {orthanc.dicom}\n{tls}", quiet=300)
    text = service.config.read_text().replace("[listener]\n", f'[listener]\ncalling_ae_titles = ["ORTHANC"]\n{tls}')
    service.config.write_text(text)
    orthanc.options = {
        **with_our_plugin(Pipeline=f"http://127.0.0.1:{service.web}", Send="DICOM", Modality="medsiglip"),
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(orthanc_pem),
        "DicomTlsPrivateKey": str(orthanc_key),
        "DicomTlsTrustedCertificates": str(authority.certificate),
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {
            "medsiglip": {"AET": "DICOMPIPE", "Host": "127.0.0.1", "Port": service.port, "UseDicomTls": True}
        },
    }
    service.start(answers=lambda: "listening as" in service.log.read_text())
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "cr-chest-effusion")
        one_report_and_no_loop(orthanc, service, study, "expected")
        echo = [need("echoscu"), "-aec", "DICOMPIPE", "127.0.0.1", str(service.port)]
        assert subprocess.run(echo, env=ENVIRONMENT, capture_output=True, check=False).returncode != 0
    finally:
        orthanc.stop()
        assert service.stop() == 0
