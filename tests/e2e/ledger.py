"""The ledger as a test reads it back from the database: every row, and what they sum to."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple, TypeVar

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    PackedRow,
    Point,
    SpanRow,
)
from meterhouse_collector.store import Store

# Finer than any instrument of these tests, and exact when summed.
MICRO: Final = 1_000_000
METERED: Final = ("energy_joules", "volume_litres")
TOKENS: Final = ("input_tokens", "cached_input_tokens", "output_tokens")
ThingRow = TypeVar("ThingRow", NodeRow, MeterRow, EngineRow, SpanRow)


class Key(NamedTuple):
    """Of what thing a row is, and when; a span's row is known by its report's start."""

    thing: str
    start_seconds: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows of a window, by thing and start; ``rollups`` are the live sums by interval.

    Each thing has one reader in these tests, so a second row of one interval is ``twice``.
    """

    nodes: dict[Key, NodeRow]
    meters: dict[Key, MeterRow]
    engines: dict[Key, EngineRow]
    spans: list[wire.Span]
    rollups: dict[int, list[Point]]
    twice: list[Key]

    def device_joules(self, node: str) -> Fraction:
        """Return the joules of a node's devices, rows and spans together."""
        rows = (
            joules
            for key, row in self.nodes.items()
            if key.thing == node
            for share in row.shares
            for joules in share.joules
        )
        return exact(rows) + self._spanned("node", node, "energy_joules", of_devices=True)

    def node_joules(self, node: str) -> Fraction:
        """Return the joules of a whole node, rows and spans together."""
        rows = (row.energy_joules for key, row in self.nodes.items() if key.thing == node)
        return exact(rows) + self._spanned("node", node, "energy_joules", of_devices=False)

    def metered(self, meter: str, quantity: str) -> Fraction:
        """Return what a meter counted of a quantity, rows and spans together."""
        rows = (getattr(row, quantity) for key, row in self.meters.items() if key.thing == meter)
        return exact(rows) + self._spanned("meter", meter, quantity, of_devices=False)

    def engine_counts(self, engine: str) -> dict[str, int]:
        """Return tokens and requests of an engine over all its models, rows and spans together."""
        counts: dict[str, int] = defaultdict(int)
        for key, row in self.engines.items():
            for served in row.served if key.thing == engine else ():
                for quantity in TOKENS:
                    counts[quantity] += getattr(served, quantity) or 0
                for reason, count in served.requests.items():
                    counts[f"requests:{reason}"] += count
        for span in self.spans:
            if (span.kind, span.thing) == ("engine", engine):
                counts[span.quantity] += round(span.amount)
        return dict(counts)

    def _spanned(
        self, kind: wire.ThingKind, thing: str, quantity: str, *, of_devices: bool
    ) -> Fraction:
        return exact(
            span.amount
            for span in self.spans
            if (span.kind, span.thing, span.quantity) == (kind, thing, quantity)
            and (span.device is not None) == of_devices
        )


def exact(amounts: Iterable[float | None]) -> Fraction:
    """Sum amounts without rounding, each in millionths: finer than any instrument here."""
    return Fraction(sum(round(amount * MICRO) for amount in amounts if amount is not None), MICRO)


async def read_ledger(store: Store, start_seconds: int, end_seconds: int) -> Ledger:
    """Read all rows with a start in [start, end)."""

    async def rows(measurement: str, kind: type[ThingRow]) -> list[tuple[Key, ThingRow]]:
        packed = await store.packed(
            "ledger", measurement, start_seconds=start_seconds, end_seconds=end_seconds
        )
        return list(_decoded(packed, kind))

    spans = [span for _, row in await rows("span", SpanRow) for span in row.spans]
    points = await store.points(
        "live", "rollup", start_seconds=start_seconds, end_seconds=end_seconds
    )
    rollups: dict[int, list[Point]] = defaultdict(list)
    for point in points:
        rollups[point.start_seconds].append(point)
    nodes, meters, engines = (
        await rows("node", NodeRow),
        await rows("meter", MeterRow),
        await rows("engine", EngineRow),
    )
    counts = Tally(key for key, _ in (*nodes, *meters, *engines))
    return Ledger(
        nodes=dict(nodes),
        meters=dict(meters),
        engines=dict(engines),
        spans=spans,
        rollups=dict(rollups),
        twice=sorted(key for key, count in counts.items() if count > 1),
    )


def _decoded(packed: Iterable[PackedRow], kind: type[ThingRow]) -> Iterator[tuple[Key, ThingRow]]:
    decoder = msgspec.json.Decoder(kind)
    for row in packed:
        yield Key(row.thing, row.start_seconds), decoder.decode(row.row)
