"""Some quarters of a small site as they are reported, and what stands in a store after the sums."""

import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.ledger import Entry, entry_of, installed, inventory_row, late_marks
from meterhouse_collector.quarters.marks import stamp_marks
from meterhouse_collector.quarters.steward import Steward
from meterhouse_collector.rows import PackedRow, Point, Policy, Row
from meterhouse_collector.store import Rejection, Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry
from tests.collector.collecting import INVENTORY, SITE, index, report

HARDWARE = """
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 1825
life = "1825d"
"""
KNOWN = index(HARDWARE)
STEP = 60
# A time of the last quarter hour at which one more quarter does not fall due within a minute.
NOW = time.time() // 900 * 900 - 500.0
# The fourth last quarter that is due.
FIRST = (int(NOW) // 900 - 6) * 900
HELD = 300.0
_MADE = (int(NOW) - 600) * 10**9

assert "node-2" in SITE


def told(
    node: str, start: int, *, spans: Sequence[wire.Span] = (), joules: float | None = None
) -> Entry:
    """Return what one report of a node says: node-1 reads the meter and the engine, too."""
    whole = STEP * 1000
    drawn = 1000.0 * (start % 7 + 1) if joules is None else joules
    first = node == "node-1"
    made = report(
        node,
        start,
        length_seconds=STEP,
        accelerators=wire.Accelerators(
            state_milliseconds={"active": [whole, whole // 2], "free": [0, whole // 2]},
            state_joules={"active": [drawn, drawn / 3], "free": [0.0, drawn / 7]},
        ),
        host=wire.Host(covered_milliseconds=whole, energy_joules=drawn * 2),
        meters=[wire.Meter(meter="utility", covered_milliseconds=whole, energy_joules=drawn * 5)]
        if first
        else [],
        engines=[
            wire.Engine(
                engine="chat",
                served_model="llama",
                covered_milliseconds=whole,
                input_tokens=start % 11,
                cached_input_tokens=start % 3,
                output_tokens=start % 13,
                requests={"stop": start % 5},
            )
        ]
        if first
        else [],
        spans=list(spans),
    )
    return entry_of(made, installed("site-a", node, INVENTORY), KNOWN, detail=False)


def fleet(quarters: int = 4) -> list[Entry]:
    """Return all reports of some quarters; node-1 is away for ten minutes, then tells spans."""
    away = range(FIRST + 600, FIRST + 1200)
    spans = [
        wire.Span(
            kind="node" if device else "meter",
            thing="node-1" if device else "utility",
            quantity="energy_joules",
            device=device,
            from_milliseconds=away.start * 1000,
            to_milliseconds=away.stop * 1000,
            amount=77_777.0,
            method="interpolated",
            reason="restart",
        )
        for device in (None, "gpu-0", "gpu-1")
    ]
    starts = range(FIRST, FIRST + quarters * 900, STEP)
    return [
        told(node, start, spans=spans if node == "node-1" and start == away.stop else ())
        for start in starts
        for node in ("node-1", "node-2")
        if node == "node-2" or start not in away
    ]


def rows_of(entries: Iterable[Entry], *, late: bool = False, stamp: int = _MADE) -> list[Row]:
    """Return the rows of reports as they are written, with their marks where they are late."""
    rows: list[Row] = []
    for entry in entries:
        rows += entry.rows
        if late:
            rows += late_marks(entry)
    stamp_marks(rows, stamp)
    return rows


def inventories() -> list[Row]:
    return [inventory_row("site-a", node, FIRST, INVENTORY) for node in ("node-1", "node-2")]


class Failing:
    """A store that breaks off in a chosen write: before it, or after it as if nobody answered."""

    def __init__(self, inner: Store, at: int, *, after: bool = False) -> None:
        self._inner = inner
        self._left = at
        self._after = after
        self.failed = False
        self.meanwhile: Callable[[Sequence[Row]], list[Row]] = lambda _: []

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        self._left -= 1
        breaks = self._left == -1
        if breaks and not self._after:
            self.failed = True
            raise StoreUnavailableError("killed before")
        rejections = await self._inner.write(rows)
        if breaks:
            self.failed = True
            raise StoreUnavailableError("killed after")
        await self._inner.write(self.meanwhile(rows))
        return rejections

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        return await self._inner.packed(
            policy, measurement, start_seconds=start_seconds, end_seconds=end_seconds, thing=thing
        )

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        return await self._inner.points(
            policy, measurement, start_seconds=start_seconds, end_seconds=end_seconds, node=node
        )

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        return await self._inner.oldest(policy, measurement)


class Stewarded:
    """A steward over a store, with what it says of itself."""

    def __init__(self, store: Store, *, at: float = NOW) -> None:
        self.telemetry = Telemetry(CollectorRegistry())
        self.now = at
        self.steward = Steward(
            store, KNOWN, self.telemetry, held_seconds=HELD, clock=lambda: self.now
        )

    async def work(self) -> None:
        """Work until nothing is due."""
        while await self.steward.step():
            pass

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"meterhouse_collector_{name}", labels)


async def standing(store: Store) -> tuple[list[PackedRow], list[Point]]:
    """Return the quarter rows and the kept rollups, whole."""
    rows: list[PackedRow] = []
    for kind in ("node", "meter", "engine"):
        rows += await store.packed("quarter", kind, start_seconds=0, end_seconds=2**33)
    return rows, await store.points("kept", "rollup", start_seconds=0, end_seconds=2**33)


async def on_time(store: Store, entries: Iterable[Entry]) -> None:
    """Bring all reports in time, and let the steward sum them."""
    assert await store.write([*inventories(), *rows_of(entries)]) == []
    await Stewarded(store).work()
