"""Serves the agent's own /metrics, to those who may read them."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from meterhouse_agent.access import Guard, server_tls
from meterhouse_agent.config import MetricsConfig

# Each client is a thread of a process whose threads are bounded; beyond, connections are dropped.
CLIENTS_MAX: Final = 8
_CLIENT_SECONDS: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, config: MetricsConfig, registry: CollectorRegistry, context: ssl.SSLContext | None
    ) -> None:
        self.guard = Guard(token=config.read_token(), login=config.read_login())
        self.registry = registry
        self._context = context
        self._room = threading.BoundedSemaphore(CLIENTS_MAX)
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        self.address_family = found[0][0]
        super().__init__((config.host, config.port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        if self._context is not None:
            # The handshake waits for the client: in its own thread, not in the one of all.
            client = self._context.wrap_socket(
                client, server_side=True, do_handshake_on_connect=False
            )
        return client, address

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of socketserver
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of socketserver
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - of socketserver
        """Say nothing: whoever can connect could fill the log."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_SECONDS
    server_version = "meterhouse"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(HTTPStatus.OK, b"ok\n")
        elif not self.server.guard.lets_in(self.headers.get("Authorization")):
            self._answer(HTTPStatus.UNAUTHORIZED, b"give the token, or user and password\n")
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"here are /metrics and /healthz\n")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = _TEXT) -> None:
        self.send_response(status)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        headers += [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
        if status is HTTPStatus.UNAUTHORIZED:
            headers += [("WWW-Authenticate", each) for each in self.server.guard.challenges]
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of http.server
        """Log no request: a scrape a second would be all that the log has."""


@contextmanager
def metrics_served(config: MetricsConfig, registry: CollectorRegistry) -> Iterator[int]:
    """Serve inside the block, and yield the port; raise ``OSError`` where that cannot be."""
    where = f"metrics cannot be served on {config.host}:{config.port}"
    try:
        server = _Server(config, registry, _context(config))
    except OSError as error:
        raise OSError(f"{where}: {error.strerror or error}") from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def _context(config: MetricsConfig) -> ssl.SSLContext | None:
    if config.certificate_file is None or config.key_file is None:
        return None
    return server_tls(config.certificate_file, config.key_file)
