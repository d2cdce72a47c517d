"""The rows of an interval that is still held, as they come."""

from collections.abc import Mapping
from typing import TypeVar

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow
from meterhouse_collector.site.index import GroupKey

ThingRow = TypeVar("ThingRow", NodeRow, MeterRow, EngineRow)


class OpenInterval:
    """The rows of one interval by thing and reader, and the groups that were written of them."""

    __slots__ = ("changed", "engines", "groups", "meters", "nodes", "rolled_at")

    def __init__(self) -> None:
        self.nodes: dict[str, NodeRow] = {}
        self.meters: dict[str, dict[str, MeterRow]] = {}
        self.engines: dict[str, dict[str, EngineRow]] = {}
        self.groups: set[GroupKey] = set()
        self.changed = True
        self.rolled_at: float | None = None

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

    def rows(self, start_seconds: int, length_seconds: int) -> IntervalRows:
        """Return one row per thing."""
        return IntervalRows(
            start_seconds,
            length_seconds,
            self.nodes.copy(),
            _picked(self.meters),
            _picked(self.engines),
        )


def _picked(things: Mapping[str, Mapping[str, ThingRow]]) -> dict[str, ThingRow]:
    # Hardly anything has two readers.
    return {
        thing: next(iter(rows.values())) if len(rows) == 1 else pick_row(rows)
        for thing, rows in things.items()
    }
