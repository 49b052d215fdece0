"""
Why a TLS handshake failed, in a few words. Pure: knows OpenSSL's words only.
"""

from __future__ import annotations

import errno
import os
import ssl

CLOSED = "closed during the handshake"
PLAIN_HTTP = "plain HTTP on a TLS port"
TIMED_OUT = "handshake timed out"

# OpenSSL's reason -> ours. TLSV1_* and SSLV3_* are alerts of the peer (RFC 8446 6.2).
_WORDS = {
    "HTTP_REQUEST": PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": PLAIN_HTTP,
    "WRONG_VERSION_NUMBER": "not TLS",
    "UNSUPPORTED_PROTOCOL": "only TLS versions older than 1.2",
    "VERSION_TOO_LOW": "only TLS versions older than 1.2",
    "NO_SHARED_CIPHER": "no cipher in common",
    "CALLBACK_FAILED": "a server name that is not ASCII",
    "UNEXPECTED_EOF_WHILE_READING": CLOSED,
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know our certificate's issuer",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer finds our certificate expired",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer wants another TLS version",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate of ours",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not know this server name",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer has no cipher in common, or wants a certificate",
}

# X509_V_ERR_* of x509_vfy.h.
_HOSTNAME_MISMATCH = 62
_IP_ADDRESS_MISMATCH = 64
_NO_ISSUER = frozenset({2, 18, 19, 20, 21})


def explain(error: Exception, expected: str = "") -> str:
    """`error` of a handshake with the server `expected` (if that is the peer)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, expected)
    if isinstance(error, ssl.SSLEOFError):
        return CLOSED
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "protocol error"
        return _WORDS.get(reason) or reason.lower().replace("_", " ")
    if isinstance(error, OSError):
        code = error.errno or 0
        if code in (0, errno.ENOTCONN, errno.EPIPE):
            return CLOSED
        return "reset during the handshake" if code == errno.ECONNRESET else os.strerror(code)
    return str(error)


def _of_certificate(error: ssl.SSLCertVerificationError, expected: str) -> str:
    code, text = error.verify_code, error.verify_message.lower().rstrip(".")
    if code == _HOSTNAME_MISMATCH:
        return f"certificate hostname mismatch: expected {expected}"
    if code == _IP_ADDRESS_MISMATCH:
        return f"certificate address mismatch: expected {expected}"
    if code in _NO_ISSUER:
        return f"certificate of an unknown issuer ({text})"
    return text if text.startswith("certificate") else f"certificate: {text}"
