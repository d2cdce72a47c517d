"""A writer with its store, and reports for it to write."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.store import Store
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.writer import Timing, Writer
from tests.collector.collecting import INVENTORY, LENGTH, index, now_on_grid, report

KNOWN = index()
DEADLINE_SECONDS = 60.0


class Written:
    """A writer with its store, and what it said."""

    def __init__(self, store: Store, *, every: float = 0.2) -> None:
        self.store = store
        self.said: list[wire.Receipt] = []
        self.flows: list[bool] = []
        self.connected = True
        self.telemetry = Telemetry(CollectorRegistry())
        self.receipts = Receipts(length_seconds=LENGTH, every_seconds=every)
        self.changed: list[int] = []
        self.writer = Writer(
            store,
            self.receipts,
            self.telemetry,
            timing=Timing(0.01, 300.0),
            send=self._send,
            flow=self.flows.append,
            changed=self.changed.extend,
        )

    def _send(self, _: str, payload: bytes) -> bool:
        if self.connected:
            self.said.append(wire.decode_receipt(payload))
        return self.connected

    def stored(self) -> set[tuple[str, int]]:
        return {
            (receipt.node, start)
            for receipt in self.said
            for first, last in receipt.stored
            for start in range(first, last + 1, LENGTH)
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"meterhouse_collector_{name}", labels)

    @contextmanager
    def running(self) -> Iterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.writer.run(), name="writer")
        try:
            yield task
        finally:
            task.cancel()


def entry(node: str = "node-1", start: int | None = None, *, detail: bool = False) -> Entry:
    has = installed("site-a", node, INVENTORY)
    return entry_of(report(node, start), has, KNOWN, detail=detail)


def entries(count: int, node: str = "node-1") -> list[Entry]:
    first = now_on_grid() - 200
    return [replace(entry(node, first + k * LENGTH), start_seconds=first + k) for k in range(count)]


def loose(number: int) -> PackedRow:
    return PackedRow("quarter", "inventory", "site-a", f"n{number}", "n", now_on_grid(), "{}")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(SqliteConfig(path=str(folder / "rows.sqlite")))
    await store.open()
    try:
        yield store
    finally:
        await store.close()
