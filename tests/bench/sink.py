"""A store that accepts and discards: it answers as InfluxDB does, and counts what it was given.

``python -m tests.bench.sink`` prints its port. What it counted is answered at ``/counts``.
"""

import asyncio
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final, Self, cast

import msgspec
import uvloop

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MEASUREMENT: Final = re.compile(rb"^[A-Za-z_]+", re.MULTILINE)
_WRITTEN: Final = b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version: sink\r\n\r\n"
_NOTHING: Final = b'{"results":[{"statement_id":0}]}\n'
_STOP_SECONDS: Final = 10.0


class Sink:
    """The sink as a process of its own; a context manager."""

    org: Final = "sink"
    token: Final = "sink"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=root, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdout is None:
            raise AssertionError("BUG: its output is a pipe")
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(_STOP_SECONDS)

    @property
    def pid(self) -> int:
        """The process id of the running sink."""
        if self._process is None:
            raise AssertionError("BUG: it is not running")
        return self._process.pid

    def counts(self) -> dict[str, int]:
        """Return how many lines of each measurement it was given so far."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=10) as answer:  # noqa: S310 - its own
            return msgspec.json.decode(answer.read(), type=dict[str, int])


class _Connection(asyncio.Protocol):
    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts
        self._parts: list[bytes] = []
        self._have = self._need = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none of asyncio's by class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        whole = b"".join(self._parts)
        while (end := whole.find(_HEAD_END)) >= 0:
            found = _LENGTH.search(whole, 0, end)
            begin = end + len(_HEAD_END)
            self._need = begin + (int(found[1]) if found else 0)
            if len(whole) < self._need:
                break
            self._answer(whole[:end], whole[begin : self._need])
            whole, self._need = whole[self._need :], 0
        self._parts, self._have = [whole], len(whole)

    def _answer(self, head: bytes, body: bytes) -> None:
        if self._transport is None:
            raise AssertionError("BUG: data before a connection")
        if head.startswith(b"POST /api/v2/write"):
            self._count(body)
            self._transport.write(_WRITTEN)
            return
        counts = head.startswith(b"GET /counts")
        text = msgspec.json.encode(self._counts) if counts else _NOTHING
        said = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(said % len(text) + text)

    def _count(self, body: bytes) -> None:
        for name in set(_MEASUREMENT.findall(body)):
            lines = body.count(b"\n" + name + b",") + body.startswith(name + b",")
            self._counts[name.decode()] = self._counts.get(name.decode(), 0) + lines


async def _serve() -> None:
    counts: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
