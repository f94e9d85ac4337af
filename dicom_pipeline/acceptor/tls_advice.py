"""Why TLS handshakes with us failed, in words that say what to do. The reasons are OpenSSL's, as the catalog keeps them."""

from __future__ import annotations

ADVICE = {
    "tlsv1-alert-unknown-ca": "the peer does not trust our certificate: give it the authority that issued ours",
    "tlsv13-alert-certificate-required": "the peer was asked for a certificate and has none: see no certificate",
    "sslv3-alert-certificate-unknown": "the peer does not accept our certificate: often its name or authority",
    "sslv3-alert-bad-certificate": "the peer does not accept our certificate",
    "sslv3-alert-certificate-expired": "our certificate has expired: renew it; changed files are taken up by themselves",
    "sslv3-alert-handshake-failure": "the peer offers nothing in common with BCP 195: it needs TLS 1.2 with AES-GCM or newer",
    "certificate-verify-failed": "the peer's certificate is not of an authority in listener.tls_ca",
    "certificate-has-expired": "the peer's certificate has expired, or its authority's: renew it there, or set the clocks",
    "certificate-is-not-yet-valid": "the peer's certificate is not valid yet: set the clock, there where it was issued or here",
    "peer-did-not-return-a-certificate": "the peer shows no certificate, but listener.tls_ca asks for one: give it one",
    "no-shared-cipher": "the peer offers no cipher suite of BCP 195: it needs ECDHE with AES-GCM or ChaCha20",
    "unsupported-protocol": "the peer speaks TLS older than 1.2, which BCP 195 forbids: update it",
    "version-too-low": "the peer speaks TLS older than 1.2, which BCP 195 forbids: update it",
    "wrong-version-number": "the peer does not speak TLS: switch it on there",
    "http-request": "someone sent HTTP: this is a DICOM port",
    "https-proxy-request": "someone sent HTTP: this is a DICOM port",
    "unexpected-eof-while-reading": "the peer hung up in the handshake: often because it does not trust our certificate",
    "connection-lost": "the peer hung up before the handshake: a port check, or a peer that gave up",
    "timeout": "the peer said nothing in time: it may be waiting for us, as one does that does not speak TLS",
    "bad-key-share": "the peer sent what is no key: not a TLS program that works",
}
WORD = "tls: "


def handshake_advice(reason: str) -> str:
    """What a refusal's reason means and what to do; "" where the reason is none of TLS."""
    if not reason.startswith(WORD):
        return ""
    word = reason.removeprefix(WORD)
    known = ADVICE.get(word)
    return known or "OpenSSL's word for it; `openssl s_client -connect HOST:PORT` from the peer's machine says more"
