"""What waits for the store: the fresh first, bounded by what it weighs, and drained at the end."""

import asyncio
import tracemalloc
from contextlib import suppress

import pytest
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.held import HELD_BYTES, Held
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.rows import PackedRow
from tests.collector.collecting import INVENTORY, LENGTH, MemoryStore, now_on_grid, report
from tests.collector.writing import (
    DEADLINE_SECONDS,
    KNOWN,
    Written,
    entries,
    entry,
    loose,
    until,
)


async def test_rows_that_come_while_a_full_queue_is_written_push_out_none_of_those() -> None:
    store = MemoryStore()
    store.gate = asyncio.Event()
    it = Written(store)
    most = 100_000
    for number in range(most):
        it.writer.write(loose(number))
    with it.running():
        await until(lambda: store.writes == 1)
        for number in range(most, most + 5000):
            it.writer.write(loose(number))
        store.gate.set()
        await until(lambda: len(store.packed_rows) == most + 5000)
    assert it.value("dropped_total", reason="rows_full") is None


async def test_rows_are_kept_over_a_failed_write_and_the_oldest_dropped_are_counted() -> None:
    store = MemoryStore()
    store.down = "down"
    it = Written(store)
    most = 100_000
    for number in range(most + 10):
        it.writer.write(loose(number))
    assert it.value("dropped_total", reason="rows_full") == 10
    with it.running():
        await until(lambda: store.writes == 1)
        store.down = ""
        await until(lambda: len(store.packed_rows) == most)
    assert not any(key[3] == "n9" for key in store.packed_rows)
    assert any(key[3] == "n10" for key in store.packed_rows)


async def test_what_is_fresh_is_written_before_the_backlog() -> None:
    store = MemoryStore()
    it = Written(store)
    for number in range(10):
        it.writer.accept(entry(start=now_on_grid() - 3600 - number * LENGTH))
    it.writer.accept(entry("n2"))
    with it.running():
        await until(lambda: len(it.stored()) == 11)
    rows = [key[3] for key in store.packed_rows if key[1] == "node"]
    assert rows == ["n2", *["node-1"] * 10]


def test_what_came_while_a_batch_was_written_comes_after_it_and_before_the_backlog() -> None:
    held = Held()
    backlog = entries(2000)
    assert all(held.take(one, fresh=False) for one in backlog)
    first = held.batch()
    fresh = entries(3, "n2")
    assert all(held.take(one, fresh=True) for one in fresh)
    held.written(first)
    count = len(first)
    assert 1000 < count < 2000
    assert first == backlog[:count]
    assert len(held) == 2003 - count
    assert held.batch() == [*fresh, *backlog[count:]]


async def test_a_report_that_waited_long_for_the_store_is_marked_as_late() -> None:
    store = MemoryStore()
    it = Written(store)
    fresh, old = now_on_grid(), now_on_grid() - 600
    with it.running():
        it.writer.accept(entry(start=fresh))
        it.writer.accept(entry(start=old))
        await until(lambda: len(it.stored()) == 2)
    marks = [row for row in store.packed_rows.values() if row.measurement == "dirty"]
    assert [(m.thing, m.start_seconds) for m in marks] == [("node/node-1", old // 900 * 900)]


async def test_a_full_writer_takes_no_more_stops_reading_and_reads_again() -> None:
    store = MemoryStore()
    store.down = "down"
    it = Written(store)
    # Of a megabyte each, so that they are few.
    made = entry()
    (row,) = made.rows
    assert isinstance(row, PackedRow)
    text = row.row.ljust(1 << 20)
    made = replace(made, rows=[replace(row, row=text)])
    taken = 0
    while it.writer.accept(replace(made, start_seconds=taken)):
        taken += 1
    assert (taken, it.flows) == (HELD_BYTES >> 20, [False])
    assert not it.writer.accept(made)
    assert it.flows == [False]
    store.down = ""
    with it.running():
        await until(lambda: it.flows == [False, True])
        assert it.writer.accept(made)


async def test_large_reports_fill_it_by_their_rows() -> None:
    it = Written(MemoryStore())
    made = entry()
    big = replace(made, rows=made.rows * 80_000)
    assert [it.writer.accept(big) for _ in range(4)] == [True] * 2 + [False] * 2


@pytest.mark.parametrize("detail", [False, True])
def test_what_is_held_is_weighed_as_it_weighs(detail: bool) -> None:  # noqa: FBT001 - a case
    has = installed("site-a", "node-1", INVENTORY)
    payload = wire.encode(report())

    def made() -> Entry:
        return entry_of(wire.decode_report(payload), has, KNOWN, detail=detail)

    made()
    held = Held()
    tracemalloc.start()
    for _ in range(1000):
        assert held.take(made(), fresh=True)
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * held.size_bytes <= found <= 1.5 * held.size_bytes


async def test_drain_writes_all_of_it_says_so_and_takes_no_more() -> None:
    store = MemoryStore()
    it = Written(store, every=3600.0)
    for made in entries(5000):
        it.writer.accept(made)
    await it.writer.drain(DEADLINE_SECONDS)
    assert len(it.stored()) == 5000
    assert not it.writer.accept(entry())


async def test_drain_after_a_write_was_cut_off_writes_it_again() -> None:
    store = MemoryStore()
    store.gate = asyncio.Event()
    it = Written(store)
    it.writer.accept(entry())
    it.writer.write(loose(1))
    with it.running() as task:
        await until(lambda: store.writes == 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    store.gate = None
    await it.writer.drain(DEADLINE_SECONDS)
    assert len(store.packed_rows) == 2
    assert len(it.stored()) == 1


@pytest.mark.parametrize("how", ["down", "slow"])
async def test_drain_gives_up_in_time_and_says_what_agents_still_have(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    store.down = "down" if how == "down" else ""
    store.slow_seconds = 3600.0 if how == "slow" else 0.0
    it = Written(store)
    it.writer.accept(entry())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await it.writer.drain(0.2)
    assert it.said == []
    assert "1 reports not written" in caplog.text
