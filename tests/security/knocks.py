"""One TLS handshake and one MQTT login, by hand: what the broker answers is seen, not guessed."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from tests.deploy.brokers import ADDRESS

ACCEPTED: Final = b"\x20\x02\x00\x00"
NOT_AUTHORIZED: Final = b"\x20\x02\x00\x05"
PONG: Final = b"\xd0\x00"
_PING: Final = b"\xc0\x00"
_PATIENCE_SECONDS: Final = 20.0


def login(client_id: str, user: str | None = None, password: str = "") -> bytes:
    """Return the packet CONNECT of MQTT 3.1.1, without user and password unless given."""
    fields = [client_id] if user is None else [client_id, user, password]
    flags = b"\x02" if user is None else b"\xc2"
    body = b"\x00\x04MQTT\x04" + flags + b"\x00\x3c"
    for each in map(str.encode, fields):
        body += len(each).to_bytes(2, "big") + each
    return b"\x10" + bytes([len(body)]) + body


@contextlib.contextmanager
def connected(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """Shake hands with a broker; raise ``ssl.SSLError`` where one side will not."""
    with (
        socket.create_connection((ADDRESS, port), timeout=_PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=ADDRESS, session=session) as connection,
    ):
        yield connection


def knock(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> str:
    """Log in to a broker; return ``accepted``, or why it or we refuse.

    By TLS 1.2 unless the context says otherwise: there the broker says why before the handshake
    ends. By TLS 1.3 it may hang up on the login before its reason is read.
    """
    if context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with connected(port, context, session) as connection:
            connection.sendall(login("knocking"))
            answer = connection.recv(4)
    except ssl.SSLCertVerificationError as error:
        return f"the broker's certificate: {error.verify_message}"
    except ssl.SSLError as error:
        return error.reason or str(error)
    except ConnectionError:
        return "hung up"
    return "accepted" if answer == ACCEPTED else f"answered {answer!r}"


def answers_ping(connection: ssl.SSLSocket) -> bool:
    """Tell whether a broker still answers on a connection."""
    try:
        connection.sendall(_PING)
        return connection.recv(2) == PONG
    except OSError:
        return False


def plain_answer(port: int) -> bytes:
    """Log in without TLS; return what comes back, nothing where the broker hangs up."""
    with socket.create_connection((ADDRESS, port), timeout=_PATIENCE_SECONDS) as plain:
        plain.sendall(login("plain"))
        with contextlib.suppress(ConnectionError):
            return plain.recv(64)
        return b""
