"""Why a TLS handshake of ours with a peer failed, in words that say what to do."""

from __future__ import annotations

import ssl

NOT_TRUSTED = {  # X509_V_ERR of OpenSSL
    9: "it is not valid yet: compare the clocks",
    10: "it has expired: the peer must renew it",
    18: "it is signed by itself: put it into tls_ca if that is meant",
    19: "its authority is not in tls_ca",
    20: "its authority is not in tls_ca, or the peer sends no intermediate certificate",
    21: "its authority is not in tls_ca, or the peer sends no intermediate certificate",
    62: "it is for another host name: call the peer by a name that the certificate has",
    64: "it is for another address: call the peer by a name or address that the certificate has",
}
ADVICE = {
    "CERTIFICATE_REQUIRED": "it wants a certificate of ours: set tls_certificate and tls_key",
    "UNKNOWN_CA": "it does not trust our certificate: give it the authority that issued ours",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "BAD_CERTIFICATE": "it does not accept our certificate, or wants one: set tls_certificate and tls_key",
    "CERTIFICATE_EXPIRED": "our certificate has expired: renew it",
    "PROTOCOL_VERSION": "it speaks TLS older than 1.2, which BCP 195 forbids: the peer must be updated",
    "UNSUPPORTED_PROTOCOL": "it speaks TLS older than 1.2, which BCP 195 forbids: the peer must be updated",
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port: is that its port for TLS?",
    "RECORD_LAYER_FAILURE": "it does not speak TLS on this port: is that its port for TLS?",
    "HANDSHAKE_FAILURE": "it has no cipher suite in common with us, or wants a certificate of ours (tls_certificate)",
    "UNEXPECTED_EOF_WHILE_READING": "it hung up: it may not speak TLS on this port, or not trust our certificate",
}


def handshake_failure(error: OSError) -> str:
    """What a failed connection or handshake means and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = NOT_TRUSTED.get(error.verify_code, "")
        return f"its certificate is not trusted ({error.verify_message}){f': {advice}' if advice else ''}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "no reason given"
        found = next((text for word, text in ADVICE.items() if reason.endswith(word)), "does it trust our certificate?")
        return f"the TLS handshake fails ({reason}): {found}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time: is a firewall between, is the port right?"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (connection refused): is the peer running, is the port right?"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "it hung up in the handshake: it may not speak TLS on this port, or not trust our certificate"
    return error.strerror or type(error).__name__
