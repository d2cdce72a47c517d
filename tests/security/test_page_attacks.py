"""Clients that ask slowly, for nothing, or send what nobody asked for: others are served."""

import asyncio
import contextlib
import gzip
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from meterhouse_collector.config import PageConfig
from meterhouse_collector.web.connections import WAITING_MAX, Connections
from meterhouse_collector.web.server import PageServer
from tests.deploy.brokers import ADDRESS, made_authority
from tests.security.http_guarded import get
from tests.stand_ins.live_site import LiveSite

ATTACKERS: Final = 3 * WAITING_MAX
WAIT_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
HEAD: Final = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BOMB_BYTES: Final = 50_000_000


def refused(site: LiveSite, reason: str) -> float:
    name = "meterhouse_collector_page_refused_total"
    return site.telemetry.registry.get_sample_value(name, {"reason": reason}) or 0.0


def port_of(page: PageServer) -> int:
    return int(page.address.rstrip("/").rpartition(":")[2])


def half_open(port: int, sent: bytes) -> contextlib.ExitStack:
    """Connect often, send a beginning, and never the rest."""
    stack = contextlib.ExitStack()
    for _ in range(ATTACKERS):
        one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        with contextlib.suppress(OSError):
            one.sendall(sent)
    return stack


@pytest.mark.parametrize("sent", [b"", b"G", HEAD, HEAD + b"X: " + b"x" * 4000], ids=len)
async def test_who_never_ends_his_request_keeps_nobody_out(sent: bytes) -> None:
    site = LiveSite()
    async with site.served() as page:
        with await asyncio.to_thread(half_open, port_of(page), sent):
            for _ in range(3):
                answer = await asyncio.to_thread(get, port_of(page), "/healthz")
                assert answer.status == 200
            assert refused(site, "connections") >= ATTACKERS - WAITING_MAX
        answer = await asyncio.to_thread(get, port_of(page), "/metrics")
        assert b"page_refused_total" in answer.body


@pytest.fixture
def tls(tmp_path: Path) -> tuple[PageConfig, ssl.SSLContext]:
    """Return a page with a certificate, and who trusts it."""
    authority = made_authority(tmp_path / "ca")
    authority.enroll("broker", ADDRESS, renew=False, now=datetime.now(UTC), days=1)
    paths = authority.paths("broker", ADDRESS)
    files = {"certificate_file": str(paths.certificate), "key_file": str(paths.key)}
    config = PageConfig.model_validate({"port": 0, **files})
    return config, ssl.create_default_context(cafile=authority.certificate)


async def test_who_never_shakes_hands_keeps_nobody_out(
    tls: tuple[PageConfig, ssl.SSLContext],
) -> None:
    config, context = tls
    site = LiveSite()
    async with site.served(config=config) as page:
        with await asyncio.to_thread(half_open, port_of(page), b"\x16\x03\x01"):
            answer = await asyncio.to_thread(get, port_of(page), "/healthz", None, context)
            assert answer.status == 200
            assert refused(site, "connections") >= ATTACKERS - WAITING_MAX


@contextlib.asynccontextmanager
async def served(
    answer: Callable[[web.BaseRequest], web.Response],
) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve an answer to all, with little patience; yield the port and what was refused."""

    async def handle(request: web.BaseRequest) -> web.Response:
        connections.asks(request.protocol)
        try:
            return answer(request)
        finally:
            connections.waits(request.protocol)

    reasons: list[str] = []
    server = web.Server(handle)
    connections = Connections(server, None, refused=reasons.append, wait_seconds=WAIT_SECONDS)
    port = connections.listen("127.0.0.1", 0)
    try:
        yield port, reasons
    finally:
        connections.close()
        await server.shutdown(1.0)


async def ends(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side hangs up."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with contextlib.suppress(ConnectionError):
            return await reader.read(-1)
    return b""


async def test_who_is_too_slow_is_dropped_and_counted() -> None:
    async with served(lambda _: web.Response(text="here")) as (port, reasons):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        assert await ends(reader) == b""
        assert reasons == ["slow"]
        writer.close()
        # Who has asked and goes on is served on the same connection, and no attacker when he stops.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            await asyncio.sleep(WAIT_SECONDS / 2)
            writer.write(HEAD + b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"here")
        assert await ends(reader) == b""
        assert reasons == ["slow"]
        writer.close()


async def test_who_does_not_read_the_answer_is_dropped() -> None:
    large = b"x" * 30_000_000
    async with served(lambda _: web.Response(body=large)) as (port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as slow:
            slow.sendall(HEAD + b"\r\n")
            await asyncio.sleep(WAIT_SECONDS + 2.0)
            read = await asyncio.to_thread(read_all, slow)
        assert read < len(large)


def read_all(connection: socket.socket) -> int:
    """Return how many bytes come until the other side hangs up."""
    total = 0
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 20):
            total += len(part)
    return total


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity"])
async def test_a_body_is_refused_and_never_unpacked(encoding: str) -> None:
    site = LiveSite()
    bomb = gzip.compress(b"\0" * BOMB_BYTES)
    async with site.served() as page:

        def send() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=30)
            headers = {"Content-Encoding": encoding}
            connection.request("GET", "/api/live", body=bomb, headers=headers)
            answer = connection.getresponse()
            connection.close()
            return answer.status

        assert await asyncio.to_thread(send) == 413
        assert refused(site, "body") == 1
        answer = await asyncio.to_thread(get, port_of(page), "/healthz")
        assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        HEAD + b"a: b\r\n" * 5_000 + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        HEAD
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n",
    ],
    ids=["binary", "version", "long", "many", "chunk", "negative", "path", "smuggled"],
)
async def test_what_is_no_request_is_refused_in_silence(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site = LiveSite()
    async with site.served() as page:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(page))
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            writer.write_eof()
            await writer.drain()
        answer = await ends(reader)
        assert b" 200 " not in answer
        assert b"Traceback" not in answer
        writer.close()
        answered = await asyncio.to_thread(get, port_of(page), "/healthz")
        assert answered.status == 200
        assert refused(site, "malformed") == (0 if sent.startswith(b"\0") else 1)
    assert caplog.text == ""
