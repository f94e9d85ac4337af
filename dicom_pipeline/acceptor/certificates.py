"""What is wrong with our own TLS files, or soon will be: for `doctor`, before a peer finds it out.

A handshake in memory with ourselves, with OpenSSL's own rules, reads the certificate: its dates, its names, its key.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOON_SECONDS = 30 * 24 * 3600.0
"""A certificate that ends within a month is worth a word."""

DAY = 24 * 3600.0
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
MOST_ROUNDS = 10
ADVICE = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate; name the pair that was issued together",
    "NO_START_LINE": "a file is not in PEM form; convert it with `openssl x509 -in FILE -outform PEM`",
    "EE_KEY_TOO_SMALL": "the key is too short for today; have a certificate made with RSA of 2048 bits or more, or ECDSA",
    "CA_MD_TOO_WEAK": "the certificate is signed with a digest that is broken; have it signed with SHA-256",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and whether it is as it should be."""

    good: bool
    says: str


def check_own_files(certificate: Path, key: Path | None, authorities: Path | None, host: str) -> Finding:
    """Our certificate, its key, and the file of the authorities whose certificates peers must show. host: we are called so."""
    if key is None:
        return Finding(False, "there is a certificate but no key; set tls_key too")
    for name, path in (("certificate", certificate), ("key", key), ("authorities", authorities)):
        if path is not None and (problem := _unreadable(path)):
            return Finding(False, f"the file of the {name} {problem}: {path}")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        advice = ADVICE.get(reason, "expected PEM files, a key without a password that belongs to the certificate")
        return Finding(False, f"{advice} ({reason})")
    problem, details = _read_certificate(server, certificate)
    if problem:
        return Finding(False, problem)
    return _judge(details, authorities, host)


def _judge(details: dict[str, Any], authorities: Path | None, host: str) -> Finding:
    left = ssl.cert_time_to_seconds(details["notAfter"]) - time.time()
    names = [value for kind, value in details.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    remarks = [f"valid until {details['notAfter']}", f"for {', '.join(names) or 'no host name'}"]
    good = left > SOON_SECONDS
    if not good:
        remarks.append(f"ends in {left / DAY:.0f} days: renew it; changed files are taken up without a restart")
    if not _names_host(names, host):
        good = good and host in ANY_ADDRESS
        wanted = socket.gethostname() if host in ANY_ADDRESS else host
        remarks.append(
            f"does not name {wanted}: a peer that checks names must call us by another, or the certificate must"
        )
    if authorities is not None:
        finding = _check_authorities(authorities)
        good, remarks = good and finding.good, [*remarks, finding.says]
    else:
        remarks.append("any peer may connect, as tls_ca is not set")
    return Finding(good, "; ".join(remarks))


def _check_authorities(path: Path) -> Finding:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        return Finding(False, f"tls_ca cannot be read ({getattr(error, 'reason', None) or type(error).__name__})")
    found = context.get_ca_certs()
    ended = [one for one in found if ssl.cert_time_to_seconds(str(one["notAfter"])) < time.time()]
    if not found:
        return Finding(False, "tls_ca holds no certificate of an authority, so that no peer can be trusted")
    if len(ended) == len(found):
        return Finding(False, "every authority in tls_ca has expired")
    return Finding(True, f"peers must show a certificate of {len(found) - len(ended)} authorities")


def _names_host(names: list[str], host: str) -> bool:
    """Whether a certificate's names cover a host name or address (RFC 9525, with one wildcard at the left)."""
    wanted = {socket.gethostname().lower(), socket.getfqdn().lower()} if host in ANY_ADDRESS else {host.lower()}
    for name in (one.lower() for one in names):
        if name in wanted or (name.startswith("*.") and any(one.partition(".")[2] == name[2:] for one in wanted)):
            return True
        try:
            if ipaddress.ip_address(name) in {ipaddress.ip_address(one) for one in wanted}:
                return True
        except ValueError:
            continue
    return False


def _read_certificate(server: ssl.SSLContext, certificate: Path) -> tuple[str, dict[str, Any]]:
    """What OpenSSL has against the certificate, "" for nothing, and what stands in it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted itself here: its issuer is the peers' business
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    pending = [theirs, ours]
    try:
        for _ in range(MOST_ROUNDS):
            for side in list(pending):
                try:
                    side.do_handshake()
                    pending.remove(side)
                except ssl.SSLWantReadError:
                    continue
            if not pending:
                return "", theirs.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return f"the certificate cannot be used: {error.verify_message}; have a new one made", {}
    except ssl.SSLError as error:
        return f"a handshake with ourselves fails ({error.reason})", {}
    return "a handshake with ourselves does not end", {}


def _unreadable(path: Path) -> str:
    if not path.exists():
        return "is not there"
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"
