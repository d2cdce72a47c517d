"""Who may read what is served over HTTP: those with a token, or with a user and a password."""

import base64
import binascii
import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Final

_REALM: Final = 'realm="meterhouse"'


class Guard:
    """Tells who may in from a request's ``Authorization``; without secrets everybody may."""

    def __init__(self, *, token: str | None, login: tuple[str, str] | None) -> None:
        self._accepted: list[bytes] = []
        self.challenges: list[str] = []
        if login is not None:
            self._accepted.append(_digest("basic", ":".join(login).encode()))
            self.challenges.append(f'Basic {_REALM}, charset="UTF-8"')
        if token is not None:
            self._accepted.append(_digest("bearer", token.encode()))
            self.challenges.append(f"Bearer {_REALM}")

    def lets_in(self, authorization: str | None) -> bool:
        """Tell whether a header proves that its sender may read; how long that takes does not."""
        if not self._accepted:
            return True
        given = _given(authorization or "")
        # All are compared, so that the time does not tell which one was near.
        found = [hmac.compare_digest(given, each) for each in self._accepted]
        return any(found)


def _given(authorization: str) -> bytes:
    scheme, _, proof = authorization.partition(" ")
    # What a server hands over may hold bytes that are no UTF-8.
    data = proof.strip().encode(errors="surrogateescape")
    if scheme.lower() == "basic":
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error:
            data = b""
    return _digest(scheme.lower(), data)


def _digest(scheme: str, proof: bytes) -> bytes:
    return hashlib.sha256(scheme.encode(errors="surrogateescape") + b" " + proof).digest()


def server_tls(certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return what a server shows to its clients; raise ``OSError`` that names the files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(certificate_file, key_file, password="")
    except OSError as error:
        files = f"certificate_file {certificate_file}, key_file {key_file}"
        raise OSError(f"{files}: {error.strerror or error}") from None
    return context
