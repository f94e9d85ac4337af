"""`doctor` on certificates and handshakes: our own files, peers that we call, and peers that called us, with real TLS."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_pipeline.acceptor.certificates import check_own_files
from dicom_pipeline.acceptor.tls_advice import ADVICE, handshake_advice
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.peers.certificates import Authority
from tests.peers.made import dicom_node
from tests.peers.programs import free_port, need, wait_until

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def signed(authority: Authority, name: str, first: str, last: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is valid between two times (YYYYMMDDHHMMSSZ), signed by `openssl ca`."""
    folder = authority.folder / name
    folder.mkdir()
    request, certificate, key = folder / "csr.pem", folder / "cert.pem", folder / "key.pem"
    (folder / "index").touch()
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = x\n[x]\ndatabase = {folder}/index\nnew_certs_dir = {folder}\nrand_serial = yes\n"
        "default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n"
        "[e]\nsubjectAltName = IP:127.0.0.1\n"
    )
    for command in (
        ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request],
        ["ca", "-batch", "-config", folder / "ca.cnf", "-cert", authority.certificate, "-keyfile", authority.key,
         "-startdate", first, "-enddate", last, "-in", request, "-out", certificate, "-notext"],
    ):  # fmt: skip
        subprocess.run([need("openssl"), *map(str, command)], check=True, capture_output=True)
    return certificate, key


def test_good_files_are_described_and_those_that_end_soon_are_wrong(authority):
    good = check_own_files(
        *signed(authority, "good", "20200101000000Z", "20990101000000Z"), authority.certificate, "127.0.0.1"
    )
    assert good.good, good.says
    assert "valid until 2099-01-01 00:00 UTC" in good.says
    assert "for 127.0.0.1" in good.says
    assert "peers must show a certificate of 1 authorities" in good.says
    soon = check_own_files(*authority.issue("soon"), None, "127.0.0.1")
    assert not soon.good
    assert "ends in 2 days: renew it" in soon.says
    assert "any peer may connect" in soon.says


def test_a_certificate_out_of_its_time_or_for_another_host_is_said(authority):
    ended = check_own_files(*signed(authority, "ended", "20200101000000Z", "20210101000000Z"), None, "127.0.0.1")
    assert not ended.good
    assert "certificate has expired" in ended.says
    early = check_own_files(*signed(authority, "early", "20980101000000Z", "20990101000000Z"), None, "127.0.0.1")
    assert not early.good
    assert "not yet valid" in early.says
    files = signed(authority, "elsewhere", "20200101000000Z", "20990101000000Z")
    other = check_own_files(*files, None, "10.1.2.3")
    assert not other.good
    assert "does not name 10.1.2.3" in other.says
    everywhere = check_own_files(*files, None, "0.0.0.0")
    assert everywhere.good
    assert "does not name" in everywhere.says


def test_files_that_are_missing_or_do_not_fit_are_said(authority, tmp_path):
    certificate, key = authority.issue("fits")
    _, other_key = authority.issue("other")
    nothing, junk, ended = tmp_path / "nothing.pem", tmp_path / "junk.pem", tmp_path / "ended.pem"
    junk.write_text("junk")
    ended.write_bytes(signed(authority, "leaf", "20200101000000Z", "20990101000000Z")[0].read_bytes())
    cases = {
        "the file of the certificate is not there": (nothing, key, None),
        "the file of the key is not there": (certificate, nothing, None),
        "the file of the authorities is not there": (certificate, key, nothing),
        "the key does not belong to the certificate": (certificate, other_key, None),
        "no key": (certificate, None, None),
        "PEM": (junk, key, None),
        "tls_ca cannot be read": (certificate, key, junk),
        "holds no certificate of an authority": (certificate, key, ended),
    }
    for words, files in cases.items():
        finding = check_own_files(*files, "127.0.0.1")
        assert not finding.good, words
        assert words in finding.says


def doctor(folder: Path, text: str) -> dict:
    """Check -> (ok, says) of `dicom-pipeline doctor` with these settings."""
    (folder / "pipeline.toml").write_text(f'[spool]\nfolder = "data"\nmin_free_bytes = 0\n{text}')
    command = [sys.executable, "-m", "dicom_pipeline", "doctor", "--json", "--config", str(folder / "pipeline.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {check["check"]: (check["ok"], check["says"]) for check in json.loads(done.stdout)}


def test_doctor_explains_handshakes_with_us_that_failed_and_our_files(authority, tmp_path):
    stranger = Authority(tmp_path / "stranger", "Stranger")
    certificate, key = authority.issue("listener")
    folder = tmp_path / "data"
    port = free_port()
    settings = ListenerSection(port=port, tls_certificate=certificate, tls_key=key, tls_ca=authority.certificate)
    catalog = Catalog(folder / "catalog.sqlite")
    listener = ListeningNode(settings, catalog, Spool(folder), "run")
    listener.start()
    try:
        echo = [need("echoscu"), "-to", "5", "-ta", "5", "-aec", "DICOMPIPE", "127.0.0.1", str(port)]
        tls = [
            "--enable-tls",
            *map(str, reversed(stranger.issue("client"))),
            "--add-cert-file",
            str(authority.certificate),
        ]
        assert subprocess.run([*echo[:1], *tls, *echo[1:]], capture_output=True, check=False).returncode != 0
        node = dicom_node("DICOMPIPE", port, tls_ca=stranger.certificate)
        assert "its authority is not in tls_ca" in node.echo()
        wait_until(lambda: len(catalog.read("refusal_counts")) >= 2, 30, "no reasons")
    finally:
        listener.stop()
        catalog.close()
    text = f'[listener]\nport = {port}\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    text += f'tls_ca = "{authority.certificate}"\n'
    checks = doctor(tmp_path, text)
    good, says = checks["listener's TLS files"]
    assert not good
    assert "ends in 2 days" in says
    failed = {name: says for name, (_, says) in checks.items() if name.startswith("failed handshakes: ")}
    assert "is not of an authority in listener.tls_ca" in failed["failed handshakes: tls: certificate-verify-failed"]
    assert "does not trust our certificate" in failed["failed handshakes: tls: tlsv1-alert-unknown-ca"]
    assert checks["audit trail"] == (True, f"in {folder / 'audit'}")
    assert doctor(tmp_path, "[audit]\nwrite = false\n")["audit trail"][1].startswith("none is kept")
    assert not doctor(tmp_path, '[audit]\nsyslog = "tls"\nsyslog_ca = "nothing.pem"\n')["audit trail"][0]


def test_doctor_explains_handshakes_of_ours_that_fail(authority, tmp_path):
    certificate, key = authority.issue("server")
    port, old, plain = free_port(), free_port(), free_port()
    common = ["-cert", certificate, "-key", key, "-quiet"]
    servers = [
        [need("openssl"), "s_server", "-accept", port, "-Verify", "1", "-verify_return_error",
         "-CAfile", authority.certificate, *common],
        [need("openssl"), "s_server", "-accept", old, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", *common],
        [need("storescp"), str(plain)],
    ]  # fmt: skip
    running = [
        subprocess.Popen(
            list(map(str, c)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        for c in servers
    ]
    try:

        def entry(name, at, **tls):
            values = "".join(f'{key} = "{value}"\n' for key, value in tls.items())
            head = f'[[peers]]\ntype = "dicom"\nname = "{name}"\nae_title = "P"\nhost = "127.0.0.1"\n'
            return f"{head}port = {at}\n{values}timeout_seconds = 5\n"

        text = entry("nocert", port, tls_ca=authority.certificate) + entry("old", old, tls_ca=authority.certificate)
        text += entry("plain", plain, tls_ca=authority.certificate) + entry(
            "nobody", free_port(), tls_ca=authority.certificate
        )
        wait_until(
            lambda: doctor(tmp_path, entry("plain", plain))["destination plain"][0], 60, "storescp does not answer"
        )
        checks = doctor(tmp_path, text)
        says = {name.removeprefix("destination "): words for name, (_, words) in checks.items()}
        assert not any(checks[f"destination {name}"][0] for name in ("nocert", "old", "plain", "nobody"))
        assert "set tls_certificate" in says["nocert"]
        assert "speaks TLS older than 1.2" in says["old"]
        assert "speak TLS on this port" in says["plain"]
        assert "nothing listens there" in says["nobody"]
    finally:
        for process in running:
            process.terminate()
            process.communicate()


def test_every_advice_is_for_a_reason_of_tls():
    assert all(handshake_advice(f"tls: {word}") for word in ADVICE)
    assert "s_client" in handshake_advice("tls: something-new")
    assert handshake_advice("rejected: called-ae") == ""
