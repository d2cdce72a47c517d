"""Accepts the page's connections; one that asks for nothing never stands in the way of others.

A connection waits from its start to its first whole request, and again after each answer: for a
short time only, and when too many wait the one that waits longest goes.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

WAITING_MAX: Final = 128
_WAIT_SECONDS: Final = 15.0
_SWEEP_SECONDS: Final = 1.0
_BACKLOG: Final = 256


class _Connection:
    __slots__ = ("asked", "opening", "since", "socket", "transport")

    def __init__(self, accepted: socket.socket, since: float) -> None:
        self.socket = accepted
        self.since = since
        self.asked = False
        self.opening: asyncio.Task[None] | None = None
        self.transport: asyncio.BaseTransport | None = None

    @property
    def is_gone(self) -> bool:
        if self.transport is None:
            return self.opening is not None and self.opening.done()
        return self.transport.is_closing()

    def drop(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            # Of TLS, one that was closed twice has no protocol any more, which Python 3.11.2 does
            # not look for.
            with contextlib.suppress(AttributeError):
                self.transport.abort()
            return
        # It is still at its handshake, and the socket is the loop's.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        if self.opening is not None:
            self.opening.cancel()


class Connections:
    """The connections of one server; ``refused`` hears the reason for which one was dropped."""

    def __init__(
        self,
        server: web.Server,
        context: ssl.SSLContext | None,
        *,
        refused: Callable[[str], None],
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._server = server
        self._context = context
        self._refused = refused
        self._wait_seconds = wait_seconds
        self._listening: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        # In the order in which they began to wait.
        self._waiting: dict[_Connection, None] = {}
        self._of: dict[RequestHandler, _Connection] = {}

    def listen(self, host: str, port: int) -> int:
        """Listen on all addresses of a host; return the port. Raises ``OSError``."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            self._listening.append(listening)
            listening.setblocking(False)  # noqa: FBT003 - of the library
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address[0], port, *address[2:]))
            listening.listen(_BACKLOG)
            port = int(listening.getsockname()[1])
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._accept_all(each)) for each in self._listening]
        self._tasks.append(loop.create_task(self._sweep()))
        return port

    def close(self) -> None:
        """Accept nothing more, and let go of those that wait."""
        for task in self._tasks:
            task.cancel()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        for connection in list(self._waiting):
            self._drop(connection)

    def asks(self, handler: RequestHandler) -> None:
        """Note that a whole request has come: this connection waits no more."""
        connection = self._of.get(handler)
        if connection is not None:
            connection.asked = True
            self._waiting.pop(connection, None)

    def waits(self, handler: RequestHandler) -> None:
        """Note that there is an answer: until it is read, or the next request, it waits again."""
        connection = self._of.get(handler)
        if connection is not None:
            connection.since = asyncio.get_running_loop().time()
            self._waiting[connection] = None

    async def _accept_all(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError:
                # No more files, or the client has left again: there is nobody to tell.
                self._make_room(0)
                await asyncio.sleep(_SWEEP_SECONDS / 10)
                continue
            self._make_room(WAITING_MAX - 1)
            connection = _Connection(accepted, loop.time())
            self._waiting[connection] = None
            connection.opening = loop.create_task(self._open(connection))

    async def _open(self, connection: _Connection) -> None:
        handlers: list[RequestHandler] = []

        def made() -> RequestHandler:
            handler = self._server()
            self._of[handler] = connection
            handlers.append(handler)
            return handler

        loop = asyncio.get_running_loop()
        try:
            connection.transport, _ = await loop.connect_accepted_socket(
                made,
                connection.socket,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else self._wait_seconds,
            )
        except (OSError, asyncio.CancelledError):
            # It gave up, or speaks no TLS, or had to make room.
            self._waiting.pop(connection, None)
            for handler in handlers:
                self._of.pop(handler, None)
            connection.socket.close()

    def _make_room(self, most: int) -> None:
        if len(self._waiting) > most:
            self._forget_gone()
        while len(self._waiting) > most:
            self._drop(next(iter(self._waiting)))
            self._refused("connections")
            if most == 0:
                return

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._forget_gone()
            too_old = loop.time() - self._wait_seconds
            for connection in [each for each in self._waiting if each.since < too_old]:
                self._drop(connection)
                # Who has asked before only kept the line open.
                if not connection.asked:
                    self._refused("slow")

    def _drop(self, connection: _Connection) -> None:
        self._waiting.pop(connection, None)
        connection.drop()

    def _forget_gone(self) -> None:
        for handler, connection in list(self._of.items()):
            if connection.is_gone:
                del self._of[handler]
                self._waiting.pop(connection, None)


def http_logger(refused: Callable[[str], None]) -> logging.Logger:
    """Return a log for the library, in which what is no HTTP is counted and not told.

    It would show a traceback for each: whoever can connect could fill the disk.
    """

    def tell(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            refused("malformed")
            return False
        return True

    logger = logging.Logger(__name__, logging.INFO)  # noqa: LOG001 - each server counts its own
    logger.parent = logging.getLogger(__package__)
    logger.addFilter(tell)
    return logger
