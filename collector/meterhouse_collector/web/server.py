"""Serves the page, its snapshots as they come, and /metrics."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from meterhouse_collector.config import PageConfig
from meterhouse_collector.web.access import Guard, server_tls
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.connections import Connections, http_logger
from meterhouse_collector.web.metrics import exposition
from meterhouse_collector.web.routes import Handler, add_api, add_files

_LOG: Final = logging.getLogger(__name__)
CLIENTS_MAX: Final = 64
_LOOK_SECONDS: Final = 0.2
_KEEP_ALIVE_SECONDS: Final = 15.0
_SEND_SECONDS: Final = 10.0
_SHUTDOWN_SECONDS: Final = 1.0
# What one client may hold of this machine's memory: some snapshots, not megabytes.
_UNSENT_BYTES: Final = 256 * 1024
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # What tenants do and cost stays on no disk.
    "Cache-Control": "no-store",
    # Not which versions serve it.
    "Server": "meterhouse",
}
_HEALTH: Final = "/healthz"


class PageServer:
    """The page on one port; ``address`` is where it is once it has started."""

    def __init__(
        self,
        config: PageConfig,
        answers: Answers,
        registry: CollectorRegistry,
        *,
        send_seconds: float = _SEND_SECONDS,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._answers = answers
        self._registry = registry
        self._send_seconds = send_seconds
        self._guard = Guard(token=None, login=None)
        self._runner: web.AppRunner | None = None
        self._refused = refused
        self._connections: Connections | None = None
        self._news = asyncio.Event()
        self._closing = False
        self.clients = 0
        self.address = ""

    async def start(self) -> None:
        """Listen; raise ``OSError`` with what to do where that cannot be. A second call is none."""
        if self._runner is not None:
            return
        host, port = self._config.host, self._config.port
        context = _tls(self._config)
        try:
            self._guard = Guard(token=self._config.read_token(), login=self._config.read_login())
        except ValueError as error:
            raise OSError(f"page: {error}") from None
        runner = web.AppRunner(
            self._application(),
            handle_signals=False,
            # Whoever leaves makes room at once, not at the next word to him.
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            logger=http_logger(self._refused),
            # Nobody has anything to send: what he sends is neither unpacked nor waited for.
            auto_decompress=False,
            lingering_time=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        if runner.server is None:
            raise AssertionError("BUG: a runner that is set up has a server")
        connections = Connections(runner.server, context, refused=self._refused)
        try:
            bound = connections.listen(host, port)
        except OSError as error:
            connections.close()
            await runner.cleanup()
            taken = error.errno == errno.EADDRINUSE
            reason = "it is in use" if taken else error.strerror or str(error)
            raise OSError(
                f"page: cannot listen on port {port} of {host}: {reason}; "
                "choose another port, or 0 for any that is free"
            ) from None
        self._runner, self._connections = runner, connections
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{'http' if context is None else 'https'}://{shown}:{bound}/"

    async def run(self) -> None:
        """Tell the clients of each new interval until cancelled."""
        _LOG.info("page: %s", self.address)
        told = self._answers.newest()
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                newest = self._answers.newest()
                if newest != told:
                    told = newest
                    self._tell()
        finally:
            self._closing = True
            self._tell()

    async def close(self) -> None:
        """Let go of the port and of all clients."""
        self._closing = True
        self._tell()
        runner, self._runner = self._runner, None
        if self._connections is not None:
            self._connections.close()
        if runner is not None:
            await runner.cleanup()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._note, self._admit])
        add_files(application)
        add_api(application, self._answers)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/events", self._events)
        application.router.add_get(_HEALTH, _healthy)
        application.on_response_prepare.append(_secure)
        return application

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._connections is None:
            raise AssertionError("BUG: a request before there are connections")
        self._connections.asks(request.protocol)
        try:
            return await handler(request)
        finally:
            self._connections.waits(request.protocol)

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.body_exists:
            self._refused("body")
            text = "nothing is to be sent here\n"
            answer = web.Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text=text)
            answer.force_close()
            return answer
        if request.path == _HEALTH or self._guard.lets_in(request.headers.get("Authorization")):
            return await handler(request)
        self._refused("login")
        challenges = [("WWW-Authenticate", each) for each in self._guard.challenges]
        text = "give the token, or user and password\n"
        return web.Response(status=HTTPStatus.UNAUTHORIZED, text=text, headers=challenges)

    async def _metrics(self, _: web.Request) -> web.Response:
        body = exposition(self._registry, self._answers)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self.clients >= CLIENTS_MAX:
            self._refused("clients")
            text = f"{CLIENTS_MAX} clients are connected: no more are served\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "30"})
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        self.clients += 1
        try:
            await self._send_all(request, response)
        except (TimeoutError, ConnectionError):
            # Too slow, or gone: what it has not read yet is not kept for it.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.clients -= 1
        return response

    async def _send_all(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.transport is not None:
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
        async with asyncio.timeout(self._send_seconds):
            await response.prepare(request)
        body = b"retry: 2000\ndata: " + self._answers.encoded() + b"\n\n"
        while not self._closing:
            news = self._news
            async with asyncio.timeout(self._send_seconds):
                await response.write(body)
            try:
                async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                    await news.wait()
                body = b"data: " + self._answers.encoded() + b"\n\n"
            except TimeoutError:
                body = b": still here\n\n"


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _tls(config: PageConfig) -> ssl.SSLContext | None:
    if config.certificate_file is None or config.key_file is None:
        return None
    try:
        return server_tls(config.certificate_file, config.key_file)
    except OSError as error:
        raise OSError(f"page: {error}") from None


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
