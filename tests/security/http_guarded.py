"""Requests by hand to what is served over HTTP, with and without proofs of who asks."""

import base64
import http.client
import ssl
from pathlib import Path
from typing import Final, NamedTuple

TOKEN: Final = "token-of-the-tests"
USER: Final = "viewer"
PASSWORD: Final = "pass:word of the tests, with ü"


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def get(
    port: int,
    path: str,
    authorization: str | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Ask for a path on the loopback, by TLS where a context is given."""
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        if context is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    )
    try:
        headers = {} if authorization is None else {"Authorization": authorization}
        connection.request("GET", path, headers=headers)
        found = connection.getresponse()
        return Answer(found.status, found.headers, found.read())
    finally:
        connection.close()


def bearer(token: str) -> str:
    """Return the header of a token."""
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    """Return the header of a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Each is a login that is wrong in its own way.
WRONG: Final = (
    None,
    "",
    "Bearer",
    "Bearer ",
    bearer("token-of-the-test"),
    bearer(TOKEN + "x"),
    f"Basic {TOKEN}",
    bearer(f"{USER}:{PASSWORD}"),
    basic(USER, "password"),
    basic("", ""),
    basic("", TOKEN),
    basic(USER, ""),
    basic("other", PASSWORD),
    "Basic !!!",
    "Basic \xff\xfe",
    "Digest " + TOKEN,
    TOKEN,
)


def secret_files(folder: Path) -> dict[str, object]:
    """Write the secrets, and return the keys of a config that name them."""
    (folder / "http.token").write_text(f"{TOKEN}\n", encoding="utf-8")
    (folder / "http.password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    return {
        "token": {"file": str(folder / "http.token")},
        "username": USER,
        "password": {"file": str(folder / "http.password")},
    }
