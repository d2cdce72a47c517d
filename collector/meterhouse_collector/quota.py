"""What one node may bring: names, each of which is a series for years, and messages.

What the site model names is never counted, so that no node can use up what others are known by.
Names are counted from the start of the process.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.site.index import SiteIndex

Kind = Literal[
    "meter", "engine", "sensor", "served_model", "key", "device", "vendor", "accelerator_model"
]
Named = tuple[Kind, str]


class Limit(NamedTuple):
    """How many names of one kind there may be: of one node, and of all nodes together."""

    per_node: int
    total: int


LIMITS: Final[dict[Kind, Limit]] = {
    # A report may carry a thousand meters and 256 engines; an agent may be given other ones.
    "meter": Limit(4_096, 50_000),
    "engine": Limit(1_024, 20_000),
    "sensor": Limit(1_024, 20_000),
    "served_model": Limit(256, 2_000),
    # Of requests and latencies: agents have nine.
    "key": Limit(64, 512),
    # Eight are usual; each that is replaced is another.
    "device": Limit(1_024, 400_000),
    "vendor": Limit(16, 128),
    "accelerator_model": Limit(64, 1_000),
}
_NODES_MAX: Final = 200_000
# Above what an honest agent sends: at most 200 reports of its backlog each second, and the new.
MESSAGES_PER_SECOND: Final = 500
BURST_MESSAGES: Final = 2_000
# A message counts for as many as it has of these.
MESSAGE_BYTES: Final = 8_192


class QuotaError(ValueError):
    """A node brings more than it may; the text says what."""


class Names:
    """Remembers who brought which names, and refuses those beyond the limits."""

    def __init__(self, index: SiteIndex) -> None:
        self._known = frozenset(_known(index))
        # By name the node that brought it first: most names are one node's alone.
        self._first: dict[Kind, dict[str, str]] = {kind: {} for kind in LIMITS}
        # By node the names of its that another had brought before, and how many it brought.
        self._also: dict[Kind, dict[str, set[str]]] = {kind: {} for kind in LIMITS}
        self._counts: dict[Kind, dict[str, int]] = {kind: {} for kind in LIMITS}

    def take(self, node: str, names: Iterable[Named]) -> None:
        """Note the names that a node brings; raise ``QuotaError`` where it is one too many.

        What was noted before it stays noted, so that asking again makes no room.
        """
        for kind, name in names:
            first = self._first[kind].get(name)
            if first == node or (kind, name) in self._known:
                continue
            if first is None or name not in self._also[kind].get(node, ()):
                self._note(node, kind, name, is_new=first is None)

    def _note(self, node: str, kind: Kind, name: str, *, is_new: bool) -> None:
        limit, counts = LIMITS[kind], self._counts[kind]
        count = counts.get(node, 0)
        if count == 0 and len(counts) >= _NODES_MAX:
            raise QuotaError(f"more than {_NODES_MAX} nodes bring names")
        if count >= limit.per_node:
            raise QuotaError(f"more than {limit.per_node} names of kind {kind}")
        if is_new and len(self._first[kind]) >= limit.total:
            raise QuotaError(f"more than {limit.total} names of kind {kind} from all nodes")
        counts[node] = count + 1
        if is_new:
            self._first[kind][name] = node
        else:
            self._also[kind].setdefault(node, set()).add(name)


def _known(index: SiteIndex) -> Iterator[Named]:
    model = index.model
    for meter in model.meter:
        yield "meter", meter.name
    for engine in model.engine:
        yield "engine", engine.name
        for served in (engine.served_model, *engine.served_models):
            if served is not None:
                yield "served_model", served
    for sensor in model.sensor:
        yield "sensor", sensor.name
    for hardware in model.hardware:
        yield "accelerator_model", hardware.accelerator_model
        yield "vendor", hardware.vendor
    for asset in model.asset:
        yield "accelerator_model", asset.accelerator_model


def names_in(report: wire.Report) -> Iterator[Named]:
    """Return the names that a report brings."""
    for meter in report.meters:
        yield "meter", meter.meter
    for engine in report.engines:
        yield "engine", engine.engine
        yield "served_model", engine.served_model
        for key in (*engine.requests, *engine.latency):
            yield "key", key
    for sensor in report.sensors:
        yield "sensor", sensor.sensor
    for span in report.spans:
        if span.kind != "node":
            yield span.kind, span.thing
        if span.served_model is not None:
            yield "served_model", span.served_model


def names_of(inventory: wire.Inventory) -> Iterator[Named]:
    """Return the names that an inventory brings."""
    for device in inventory.devices:
        yield "device", device.device
        yield "vendor", device.vendor
        yield "accelerator_model", device.accelerator_model


class _Left:
    """How many messages of a node may still be looked at, and when that was."""

    __slots__ = ("at", "messages")

    def __init__(self, at: float) -> None:
        self.messages: float = BURST_MESSAGES
        self.at = at


class Rate:
    """How many messages of each node are looked at: so many a second, and more after a pause."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, _Left] = {}

    def allows(self, node: str, size_bytes: int) -> bool:
        """Take a message of a node into account; tell whether it may be looked at."""
        now, known = self._clock(), self._left.get(node)
        if known is None:
            if len(self._left) >= _NODES_MAX:
                # Everybody gets his burst again: no more than a burst is lost by it.
                self._left.clear()
            known = self._left[node] = _Left(now)
        left = known.messages + (now - known.at) * MESSAGES_PER_SECOND
        left = min(left, BURST_MESSAGES)
        cost = 1.0 if size_bytes <= MESSAGE_BYTES else size_bytes / MESSAGE_BYTES
        allowed = left >= cost
        known.messages, known.at = left - cost if allowed else left, now
        return allowed
