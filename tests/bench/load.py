"""The load: one process that records a fleet's messages and publishes them on time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final, Literal, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from meterhouse_agent import wire
from tests.bench import fleet
from tests.bench.fleet import SITE, Fleet

Form = Literal["report", "lines"]
# Agents spread their reports over so long after the end of an interval.
SPREAD_SECONDS: Final = 0.4
LINES_TOPIC: Final = "lines"
_PATIENCE_SECONDS: Final = 300.0
_KEEPALIVE_SECONDS: Final = 600
_CHUNK: Final = 10


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
def loading(port: int, described: Fleet, intervals: int) -> Iterator[Load]:
    """Run the load's process inside the block; its statuses are published and it is ready."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, port, described, intervals), daemon=True)
    process.start()
    theirs.close()
    try:
        load = Load(ours)
        load.end()
        yield load
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, port: int, described: Fleet, intervals: int) -> None:
    client = Client(
        CallbackAPIVersion.VERSION2, client_id="bench-load", protocol=MQTTProtocolVersion.MQTTv311
    )
    client.connect("127.0.0.1", port, keepalive=_KEEPALIVE_SECONDS)
    while not client.is_connected():
        client.loop(0.1)
    sequence = _Sequence(described, intervals)
    pipe.send(_publish_statuses(client, described))
    try:
        while True:
            order = pipe.recv()
            try:
                pipe.send(_publish(client, sequence, order))
            except LoadError as error:
                pipe.send(str(error))
    except EOFError:
        client.disconnect()


def _publish_statuses(client: Client, described: Fleet) -> Published:
    now = int(time.time())
    sizes = 0
    for index in range(described.nodes):
        payload = fleet.at(described.status(index), now)
        topic = wire.topic(SITE, described.node(index), wire.MessageKind.STATUS)
        client.publish(topic, payload, retain=True)
        sizes += len(payload)
    return Published(described.nodes, sizes, 0.0)


class _Sequence:
    """The recorded messages: by form, interval and node."""

    def __init__(self, described: Fleet, intervals: int) -> None:
        nodes = range(described.nodes)
        makers: dict[Form, Callable[[int, int], bytes]] = {
            "report": described.report,
            "lines": described.lines,
        }
        self.length_seconds = described.length_seconds
        self.payloads = {
            form: [[make(node, interval) for node in nodes] for interval in range(intervals)]
            for form, make in makers.items()
        }
        names = [described.node(node) for node in nodes]
        self.topics: dict[Form, list[str]] = {
            "report": [wire.topic(SITE, name, wire.MessageKind.REPORT) for name in names],
            "lines": [f"{LINES_TOPIC}/{name}" for name in names],
        }


def _publish(client: Client, sequence: _Sequence, order: Order) -> Published:
    """Publish interval after interval: each node at its own phase after the interval's end."""
    topics = sequence.topics[order.form]
    late = 0.0
    sizes = messages = 0
    for number in range(order.intervals):
        start = order.first_seconds + number * sequence.length_seconds
        due = start + sequence.length_seconds
        # Answers to keepalives, and a lost connection, are only seen here.
        _until(due)
        client.loop(0.0)
        for node, payload in enumerate(sequence.payloads[order.form][number]):
            if node % _CHUNK == 0:
                moment = due + SPREAD_SECONDS * node / len(topics)
                late = max(late, time.time() - moment)
                _until(moment)
            payload_then = fleet.at(payload, start)
            if client.publish(topics[node], payload_then).rc != 0 or not client.is_connected():
                raise LoadError("the connection to the broker was lost")
            sizes += len(payload_then) + len(topics[node])
            messages += 1
    return Published(messages, sizes, late)


def _until(moment_seconds: float) -> None:
    time.sleep(max(0.0, moment_seconds - time.time()))
