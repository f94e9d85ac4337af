"""What is wrong with our own TLS files, or soon will be: for `doctor`, before a peer finds it out.

A handshake in memory with ourselves says what OpenSSL has against the certificate; its dates and names are read by
`cryptography.x509`.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

SOON = timedelta(days=30)
"""A certificate that ends within a month is worth a word."""

ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
MAX_ROUNDS = 10
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
    if problem := _handshake_problem(server, certificate):
        return Finding(False, problem)
    try:  # the first of the file is the server's own, those behind it its authorities'
        own = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        return _judge(own, authorities, host)
    except ValueError as error:
        return Finding(False, f"the certificate breaks the rules of X.509 ({error}); have a new one made")


def _judge(certificate: x509.Certificate, authorities: Path | None, host: str) -> Finding:
    ends = certificate.not_valid_after_utc
    left = ends - datetime.now(UTC)
    names = _names_of(certificate)
    remarks = [f"valid until {ends:%Y-%m-%d %H:%M} UTC", f"for {', '.join(names) or 'no host name'}"]
    good = left > SOON
    if not good:
        remarks.append(
            f"ends in {left / timedelta(days=1):.0f} days: renew it; changed files are taken up without a restart"
        )
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
    try:
        found = [x509.load_der_x509_certificate(encoded) for encoded in context.get_ca_certs(binary_form=True)]
    except ValueError as error:
        return Finding(False, f"a certificate in tls_ca breaks the rules of X.509 ({error})")
    ended = [one for one in found if one.not_valid_after_utc < datetime.now(UTC)]
    if not found:
        return Finding(False, "tls_ca holds no certificate of an authority, so that no peer can be trusted")
    if len(ended) == len(found):
        return Finding(False, "every authority in tls_ca has expired")
    return Finding(True, f"peers must show a certificate of {len(found) - len(ended)} authorities")


def _names_of(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses of the Subject Alternative Name, the only place where a peer looks (RFC 9525)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


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


def _handshake_problem(server: ssl.SSLContext, certificate: Path) -> str:
    """What OpenSSL has against the certificate, "" for nothing."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted itself here: its issuer is the peers' business
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    pending = [theirs, ours]
    try:
        for _ in range(MAX_ROUNDS):
            for side in list(pending):
                try:
                    side.do_handshake()
                    pending.remove(side)
                except ssl.SSLWantReadError:
                    continue
            if not pending:
                return ""
    except ssl.SSLCertVerificationError as error:
        return f"the certificate cannot be used: {error.verify_message}; have a new one made"
    except ssl.SSLError as error:
        return f"a handshake with ourselves fails ({error.reason})"
    return "a handshake with ourselves does not end"


def _unreadable(path: Path) -> str:
    if not path.exists():
        return "is not there"
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"
