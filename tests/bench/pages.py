"""The fleet as Prometheus reads it: one page of text per node, encoded before and served as asked.

``python -m tests.bench.pages NODES LENGTH_SECONDS`` prints its port; a page is at ``/NODE``.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self, cast

import uvloop

from meterhouse_agent import wire
from tests.bench.fleet import MODEL, VENDOR, Fleet, Sample

# So many intervals are recorded, and served in turn.
_RECORDED: Final = 2
_STOP_SECONDS: Final = 10.0
# What each device has beside the fields of the device detail: its state.
STATE: Final = "state_number"


class Pages:
    """The server of the pages as a process of its own; a context manager."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        arguments = [str(self._fleet.nodes), str(self._fleet.length_seconds)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout is None:
            raise AssertionError("BUG: its output is a pipe")
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(_STOP_SECONDS)


def page(fleet: Fleet, node: int, interval: int) -> bytes:
    """Return what a node's exporter would say of one interval: the fields of the device detail."""
    devices = fleet.inventory(node).devices
    samples = fleet.samples(node, interval)
    said = [_fields(sample) for sample in samples]
    lines = []
    for name in said[0]:
        lines.append(f"# TYPE {name} gauge")
        for device, fields in zip(devices, said, strict=True):
            labels = f'accelerator_model="{MODEL}",device="{device.device}",vendor="{VENDOR}"'
            lines.append(f"{name}{{{labels}}} {fields[name]!r}")
    if node == 0:
        lines += ["# TYPE facility_watts gauge", f"facility_watts {fleet.nodes * 5200.0!r}"]
    return "\n".join([*lines, ""]).encode()


def _fields(sample: Sample) -> dict[str, float]:
    longest = max(sample.milliseconds, key=sample.milliseconds.__getitem__)
    return {STATE: float(wire.STATES.index(longest)), **sample.fields()}


def _answers(fleet: Fleet) -> list[dict[bytes, bytes]]:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n"
    )
    found = []
    for interval in range(_RECORDED):
        pages = ((fleet.node(node), page(fleet, node, interval)) for node in range(fleet.nodes))
        found.append({n.encode(): head.format(len(text)).encode() + text for n, text in pages})
    return found


class _Connection(asyncio.Protocol):
    def __init__(self, answers: list[dict[bytes, bytes]], length_seconds: int) -> None:
        self._answers, self._length = answers, length_seconds
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none of asyncio's by class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            path, self._head = self._head.split(b" ", 2)[1], b""
            interval = int(time.time()) // self._length
            self._transport.write(self._answers[interval % _RECORDED][path[1:]])


async def _serve(fleet: Fleet) -> None:
    answers = _answers(fleet)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(answers, fleet.length_seconds), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main(arguments: Iterable[str]) -> None:
    """Serve until it is ended."""
    nodes, length = map(int, arguments)
    uvloop.run(_serve(Fleet(nodes, length)))


if __name__ == "__main__":
    main(sys.argv[1:])
