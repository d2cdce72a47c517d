"""The load: one process that records a fleet's messages and publishes them on time."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, Literal, NamedTuple

from meterhouse_agent import wire
from tests.bench import fleet
from tests.bench.fleet import SITE, Fleet

Form = Literal["report", "lines"]
# Agents spread their reports over so long after the end of an interval.
SPREAD_SECONDS: Final = 0.4
LINES_TOPIC: Final = "lines"
_PATIENCE_SECONDS: Final = 300.0
_CHUNK: Final = 10
# One byte, two of length and two of the topic's length.
_FRAME_BYTES: Final = 5


class Order(NamedTuple):
    """Publish the first intervals of the sequence, in one form, from a start on."""

    form: Form
    first_seconds: int
    intervals: int


class Published(NamedTuple):
    """What was published, topics included; ``late_seconds`` is how far behind schedule at worst."""

    messages: int
    wire_bytes: int
    late_seconds: float


class LoadError(Exception):
    """The load's process ended, or did not do in time what it was told."""


class Load:
    """The harness's end of the load's process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def begin(self, order: Order) -> None:
        """Have a stretch published; ``end`` waits for it."""
        self._pipe.send(order)

    def end(self) -> Published:
        """Wait until the stretch is published, and return what went out."""
        if not self._pipe.poll(_PATIENCE_SECONDS):
            raise LoadError(f"the load did not answer in {_PATIENCE_SECONDS:g} s")
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise LoadError("the load's process ended") from None
        if not isinstance(answer, Published):
            raise LoadError(f"the load's process: {answer}")
        return answer


@contextmanager
def loading(
    port: int, described: Fleet, intervals: int, forms: tuple[Form, ...] = ("report", "lines")
) -> Iterator[Load]:
    """Run the load's process inside the block; its statuses are published and it is ready."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, port, described, intervals, forms), daemon=True
    )
    process.start()
    theirs.close()
    try:
        load = Load(ours)
        load.end()
        yield load
    finally:
        process.terminate()
        process.join()


def _serve(
    pipe: Connection, port: int, described: Fleet, intervals: int, forms: tuple[Form, ...]
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as broker:
        _log_in(broker)
        sequence = _Sequence(described, intervals, forms)
        pipe.send(_publish_statuses(broker, described))
        try:
            while True:
                order = pipe.recv()
                try:
                    pipe.send(_publish(broker, sequence, order))
                except OSError as error:
                    pipe.send(f"the connection to the broker was lost: {error}")
        except EOFError:
            return


def _log_in(broker: socket.socket) -> None:
    name = b"bench-load"
    # MQTT 3.1.1, a clean session, no keepalive: nothing is ever read but the answer to this.
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(name)) + name
    broker.sendall(bytes([0x10, len(body)]) + body)
    answer = broker.recv(4)
    if answer != b"\x20\x02\x00\x00":
        raise LoadError(f"the broker answered {answer!r}")


def packet(topic: str, payload: bytes, *, retained: bool = False) -> bytes:
    """Return a message at QoS 0 as it goes over the wire."""
    name = topic.encode()
    size = 2 + len(name) + len(payload)
    head = bytearray([0x31 if retained else 0x30])
    while True:
        size, digit = divmod(size, 128)
        head.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(head) + struct.pack("!H", len(name)) + name + payload


def _publish_statuses(broker: socket.socket, described: Fleet) -> Published:
    now = int(time.time())
    sizes = 0
    for index in range(described.nodes):
        payload = fleet.at(described.status(index), now)
        topic = wire.topic(SITE, described.node(index), wire.MessageKind.STATUS)
        broker.sendall(packet(topic, payload, retained=True))
        sizes += len(payload)
    return Published(described.nodes, sizes, 0.0)


class _Sequence:
    """The recorded messages, as packets: by form, interval and node."""

    def __init__(self, described: Fleet, intervals: int, forms: tuple[Form, ...]) -> None:
        nodes = range(described.nodes)
        makers: dict[Form, Callable[[int, int], bytes]] = {
            "report": described.report,
            "lines": described.lines,
        }
        names = [described.node(node) for node in nodes]
        topics: dict[Form, list[str]] = {
            "report": [wire.topic(SITE, name, wire.MessageKind.REPORT) for name in names],
            "lines": [f"{LINES_TOPIC}/{name}" for name in names],
        }
        self.length_seconds = described.length_seconds
        self.packets = {
            form: [
                [packet(topics[form][node], makers[form](node, interval)) for node in nodes]
                for interval in range(intervals)
            ]
            for form in forms
        }


def _publish(broker: socket.socket, sequence: _Sequence, order: Order) -> Published:
    """Publish interval after interval, over and again what is recorded, each at its own phase."""
    recorded, length = sequence.packets[order.form], sequence.length_seconds
    late = 0.0
    sizes = messages = 0
    for number in range(order.intervals):
        start = order.first_seconds + number * length
        packets = recorded[number % len(recorded)]
        for first in range(0, len(packets), _CHUNK):
            moment = start + length + SPREAD_SECONDS * first / len(packets)
            late = max(late, time.time() - moment)
            _until(moment)
            sent = fleet.at(b"".join(packets[first : first + _CHUNK]), start)
            broker.sendall(sent)
            sizes += len(sent)
        messages += len(packets)
    # Fixed header and the topic's length are the protocol's, not the message's.
    return Published(messages, sizes - _FRAME_BYTES * messages, late)


def _until(moment_seconds: float) -> None:
    time.sleep(max(0.0, moment_seconds - time.time()))
