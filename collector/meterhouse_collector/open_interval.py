"""The rows of one interval that is still held, as they come."""

import zlib
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow
from meterhouse_collector.site.index import GroupKey

ThingRow = TypeVar("ThingRow", NodeRow, MeterRow, EngineRow)
Nodes = dict[str, NodeRow]

_ENCODER: Final = msgspec.msgpack.Encoder()
_NODES: Final = msgspec.msgpack.Decoder(Nodes)
# The fastest: rows of one interval differ in few bytes.
_LEVEL: Final = 1


def pack_nodes(nodes: Nodes) -> bytes:
    """Return rows as a thirtieth of the memory that they take as objects."""
    return zlib.compress(_ENCODER.encode(nodes), _LEVEL)


class OpenInterval:
    """The rows of one interval by thing and reader, and the groups that were written of them.

    ``nodes`` are the rows of nodes that are not packed; ``rows`` has all of them.
    """

    __slots__ = ("_packed", "changed", "engines", "groups", "meters", "nodes", "rolled_at")

    def __init__(self) -> None:
        self.nodes: Nodes = {}
        self.meters: dict[str, dict[str, MeterRow]] = {}
        self.engines: dict[str, dict[str, EngineRow]] = {}
        self.groups: set[GroupKey] = set()
        self.changed = True
        self.rolled_at: float | None = None
        self._packed: bytes | None = None

    def take(self, entry: Entry) -> None:
        """Take the rows of an entry."""
        self.changed = True
        node = entry.node
        if entry.node_row is not None:
            # A node has one reader: the agent of its name.
            self.nodes[node] = entry.node_row
        for meter, row in entry.meters.items():
            self.meters.setdefault(meter, {})[node] = row
        for engine, served in entry.engines.items():
            self.engines.setdefault(engine, {})[node] = served

    def put(self, thing: str, reader: str, row: NodeRow | MeterRow | EngineRow) -> None:
        """Take a row as the ledger has it."""
        if isinstance(row, NodeRow):
            self.nodes[thing] = row
        elif isinstance(row, MeterRow):
            self.meters.setdefault(thing, {})[reader] = row
        else:
            self.engines.setdefault(thing, {})[reader] = row

    def all_nodes(self) -> Nodes:
        """Return the rows of all nodes, packed or not."""
        if self._packed is None:
            return self.nodes.copy()
        # What came later is there in place of what is packed.
        return {**_NODES.decode(zlib.decompress(self._packed)), **self.nodes}

    def keep_packed(self, nodes: Nodes, packed: bytes) -> None:
        """Hold rows of nodes as they were packed; what came meanwhile is left as it is."""
        self._packed = packed
        self.nodes = {name: row for name, row in self.nodes.items() if nodes.get(name) is not row}

    def rows(self, start_seconds: int, length_seconds: int) -> IntervalRows:
        """Return one row per thing."""
        return IntervalRows(
            start_seconds,
            length_seconds,
            self.all_nodes(),
            _picked(self.meters),
            _picked(self.engines),
        )


def _picked(things: Mapping[str, Mapping[str, ThingRow]]) -> dict[str, ThingRow]:
    # Hardly anything has two readers.
    return {
        thing: next(iter(rows.values())) if len(rows) == 1 else pick_row(rows)
        for thing, rows in things.items()
    }
