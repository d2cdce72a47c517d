"""The steward: whatever comes late, breaks off or was slept through, the sums are the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from math import fsum
from pathlib import Path
from uuid import uuid4

import pytest

from meterhouse_collector.kpi.catalogue import QUANTILE_FIELD_NAMES, ROLLUP_FIELD_NAMES
from meterhouse_collector.ledger import Entry
from meterhouse_collector.quarters.marks import read_marks
from meterhouse_collector.quarters.settle import Settlement, done_quarters, settle_quarters
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.rollup.points import kept_points
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.rollup.roll_up import add_sums, roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import PackedRow, Point, Row
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from meterhouse_collector.writer import Timing, Writer
from tests.collector.hearing import until
from tests.collector.settling import (
    FIRST,
    KNOWN,
    NOW,
    STEP,
    Failing,
    Stewarded,
    fleet,
    inventories,
    on_time,
    rows_of,
    standing,
    told,
)
from tests.collector.stores import influx_config, opened_influx

QUARTERS = [FIRST + k * 900 for k in range(4)]


class Stores:
    """New empty stores of one kind."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path, stack: AsyncExitStack) -> None:
        self._request = request
        self._folder = folder
        self._stack = stack

    async def new(self) -> Store:
        folder = self._folder / uuid4().hex
        folder.mkdir()
        if self._request.param == "sqlite":
            embedded = SqliteStore(SqliteConfig(path=str(folder / "rows.sqlite")))
            await embedded.open()
            self._stack.push_async_callback(embedded.close)
            return embedded
        server = self._request.getfixturevalue("influxdb_shared")
        config = await influx_config(server, folder)
        return await self._stack.enter_async_context(opened_influx(config))


@pytest.fixture(params=["sqlite", "influx"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:
        yield Stores(request, tmp_path, stack)


def split(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Return what comes in time and what comes late: one in three, and two quarters of a node."""
    late = [
        entry
        for number, entry in enumerate(entries)
        if number % 3 == 0 or (entry.node == "node-2" and entry.start_seconds >= QUARTERS[2])
    ]
    return [entry for entry in entries if entry not in late], late


def site_sums(points: Sequence[Point], quarter: int) -> dict[str, float]:
    mine = [point.fields for point in points if point.start_seconds == quarter]
    return {name: fsum(float(fields[name]) for fields in mine) for name in ROLLUP_FIELD_NAMES}


async def test_late_rows_come_to_the_same_as_rows_in_time(stores: Stores) -> None:
    expected = await stores.new()
    await on_time(expected, fleet())
    store = await stores.new()
    early, late = split(fleet())
    await store.write([*inventories(), *rows_of(early)])
    it = Stewarded(store)
    await it.work()
    assert await standing(store) != await standing(expected)
    await store.write(rows_of(late, late=True))
    it.steward.changed(entry.start_seconds // 900 * 900 for entry in late)
    await it.work()
    assert await standing(store) == await standing(expected)
    assert it.value("dirty_marks") == it.value("quarters_behind") == 0
    assert it.value("last_quarter_start_seconds") == (int(NOW - 360) // 900 - 1) * 900
    assert not any(m.open for m in await read_marks(store, "site-a", FIRST, FIRST + 3600))


async def test_what_comes_in_time_after_the_clock_was_ahead_is_summed_too(stores: Stores) -> None:
    expected = await stores.new()
    await on_time(expected, fleet())
    store = await stores.new()
    early, late = split(fleet())
    await store.write([*inventories(), *rows_of(early)])
    it = Stewarded(store)
    assert it.steward.may_have_summed(FIRST)
    await it.work()
    # By a clock that is right again they are not late.
    timing = Timing(0.01, 7200.0, lambda: NOW, it.steward.may_have_summed)
    writer = Writer(
        store,
        Receipts(length_seconds=STEP, every_seconds=1.0),
        it.telemetry,
        timing=timing,
        send=lambda _, __: True,
        flow=lambda _: None,
        changed=it.steward.changed,
    )
    assert all(writer.accept(entry) for entry in late)
    await writer.drain(30)
    it.now += 60
    await it.work()
    assert await standing(store) == await standing(expected)
    assert not it.steward.may_have_summed(int(NOW))


async def test_a_steward_that_starts_finds_the_marks_that_are_open(stores: Stores) -> None:
    expected = await stores.new()
    await on_time(expected, fleet())
    store = await stores.new()
    early, late = split(fleet())
    await on_time(store, early)
    await store.write(rows_of(late, late=True))
    await Stewarded(store).work()
    assert await standing(store) == await standing(expected)


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_in_any_step_changes_nothing(stores: Stores, *, after: bool) -> None:
    expected = await stores.new()
    await on_time(expected, fleet(2))
    store = await stores.new()
    early, late = split(fleet(2))
    await store.write([*inventories(), *rows_of(early)])
    steps = 0
    for entries in ([], late):
        await store.write(rows_of(entries, late=True))
        at, failed = 0, True
        while failed:
            # Each life breaks off one write later than the one before.
            failing = Failing(store, at, after=after)
            failed = False
            try:
                await Stewarded(failing).work()
            except StoreUnavailableError:
                failed, at, steps = True, at + 1, steps + 1
            assert failing.failed == failed
    assert steps > 8
    assert await standing(store) == await standing(expected)


async def test_marks_written_while_their_quarter_is_summed_are_not_lost(stores: Stores) -> None:
    expected = await stores.new()
    await on_time(expected, fleet(1))
    entries = fleet(1)
    for policy, measurement in (("quarter", "node"), ("kept", "rollup"), ("ledger", "cleared")):
        store = await stores.new()
        early, late = split(entries)
        await store.write([*inventories(), *rows_of(early)])
        await Stewarded(store).work()
        # The mark of a thing comes again, under the same key, while the first is worked off.
        await store.write(rows_of(late[:-2], late=True))
        failing = Failing(store, 10**9)
        rest = rows_of(late[-2:], late=True, stamp=(int(NOW) - 500) * 10**9)

        def meanwhile(
            rows: Sequence[Row],
            which: tuple[str, str] = (policy, measurement),
            rest: list[Row] = rest,
        ) -> list[Row]:
            if not any((row.policy, row.measurement) == which for row in rows):
                return []
            taken, rest[:] = list(rest), []
            return taken

        failing.meanwhile = meanwhile
        it = Stewarded(failing)
        await it.steward.step()
        while await it.steward.step():
            pass
        assert rest == []
        await Stewarded(store).work()
        assert await standing(store) == await standing(expected)


async def test_a_mark_whose_write_may_not_be_over_waits(stores: Stores) -> None:
    store = await stores.new()
    early, late = split(fleet(1))
    await on_time(store, early)
    before = await standing(store)
    await store.write(rows_of(late, late=True, stamp=int(NOW - 5) * 10**9))
    it = Stewarded(store)
    assert not await it.steward.step()
    assert await standing(store) == before
    assert it.value("dirty_marks") != 0
    it.now += 60
    await it.work()
    assert it.value("dirty_marks") == 0
    assert await standing(store) != before


async def test_silent_nodes_are_unknown_in_every_quarter(stores: Stores) -> None:
    store = await stores.new()
    await store.write(rows_of([told("node-1", FIRST)]))
    await Stewarded(store).work()
    _, points = await standing(store)
    for quarter in QUARTERS:
        sums = site_sums(points, quarter)
        active = STEP * 1.5 if quarter == FIRST else 0.0
        free = STEP * 0.5 if quarter == FIRST else 0.0
        assert sums["installed_seconds"] == 4 * 900
        assert (sums["active_seconds"], sums["free_seconds"]) == (active, free)
        assert sums["unknown_seconds"] == 4 * 900 - active - free
        assert sums["interval_seconds"] == 900


async def test_quarters_that_were_slept_through_are_filled(stores: Stores) -> None:
    store = await stores.new()
    begun = FIRST - 12 * 900
    await store.write(rows_of(fleet()))
    await store.write(rows_of([told("node-2", begun)]))
    it = Stewarded(store, at=begun + 2000)
    await it.work()
    assert await done_quarters(store, "site-a", 0, 2**33) == {begun}
    it = Stewarded(store)
    await it.steward.step()
    last = (int(NOW - 360) // 900 - 1) * 900
    # The newest first, so that it does not wait for the others.
    assert await done_quarters(store, "site-a", 0, 2**33) == {begun, last}
    await it.work()
    assert await done_quarters(store, "site-a", 0, 2**33) == {*range(begun, last + 1, 900)}
    expected = await stores.new()
    await expected.write(rows_of(fleet()))
    await expected.write(rows_of([told("node-2", begun)]))
    await settle_quarters(expected, KNOWN, range(begun, last + 1, 900))
    assert await standing(store) == await standing(expected)


async def test_what_a_spool_brings_from_before_the_first_row_is_summed(stores: Stores) -> None:
    store = await stores.new()
    await on_time(store, fleet(1))
    it = Stewarded(store)
    await it.work()
    old = told("node-2", FIRST - 1800)
    await store.write(rows_of([old], late=True))
    it.steward.changed([FIRST - 1800])
    await it.work()
    assert FIRST - 1800 in await done_quarters(store, "site-a", 0, FIRST)
    assert FIRST - 900 in await done_quarters(store, "site-a", 0, FIRST)


async def test_live_sums_of_the_intervals_are_the_sums_of_the_quarter(stores: Stores) -> None:
    store = await stores.new()
    starts = range(FIRST, FIRST + 900, STEP)
    entries = [told(node, start) for start in starts for node in ("node-1", "node-2")]
    await on_time(store, entries)
    parts = []
    for start in starts:
        rows = IntervalRows(start, STEP, {}, {}, {})
        for entry in entries:
            if entry.start_seconds == start:
                assert entry.node_row is not None
                nodes = {**rows.nodes, entry.node: entry.node_row}
                meters, engines = (
                    {**rows.meters, **entry.meters},
                    {**rows.engines, **entry.engines},
                )
                rows = rows._replace(nodes=nodes, meters=meters, engines=engines)
        parts.append(roll_up(rows, KNOWN))
    _, points = await standing(store)
    kept = {frozenset(p.tags): p.fields for p in points if p.start_seconds == FIRST}
    [groups] = {frozenset(part) for part in parts}
    for point in kept_points(FIRST, {g: add_sums(part[g] for part in parts) for g in groups}):
        physics = {n: v for n, v in point.fields.items() if "money" not in n}
        found = kept[frozenset(point.tags)]
        assert {n: found[n] for n in physics} == pytest.approx(physics, rel=1e-9)
    assert len(kept) == len(groups)


def test_a_group_that_vanished_becomes_zero() -> None:
    old, new = GroupKey("s", pool="a"), GroupKey("s", pool="b")
    sums = {**zero_sums(), "active_seconds": 5.0}
    points = {dict(p.tags)["pool"]: p for p in kept_points(FIRST, {new: sums}, [old, new])}
    nothing = {**zero_sums(), **dict.fromkeys(QUANTILE_FIELD_NAMES, 0.0)}
    assert points["a"].fields == {**nothing, "revision": 0.0}
    assert points["b"].fields["active_seconds"] == 5.0
    assert (points["a"].policy, points["a"].measurement) == ("kept", "rollup")
    assert "part" not in dict(points["a"].tags)


async def test_rows_that_cannot_be_read_are_left_out_and_counted(stores: Stores) -> None:
    store = await stores.new()
    bad = PackedRow("ledger", "node", "site-a", "node-2", "node-2", FIRST, "no JSON")
    await store.write([*rows_of([told("node-1", FIRST)]), bad])
    settled = await settle_quarters(store, KNOWN, [FIRST])
    assert (settled.unread, settled.rows, settled.rollups) == (1, 3, 1)
    rows, _ = await standing(store)
    assert [row.thing for row in rows] == ["node-1", "utility", "chat"]
    again = await Settlement(store, KNOWN).rerate([FIRST], lambda _: None)
    assert again.rollups == 1


async def test_a_steward_ends_when_it_is_told_to(stores: Stores) -> None:
    store = await stores.new()
    await store.write(rows_of(fleet(1)))
    it = Stewarded(store)
    task = asyncio.create_task(it.steward.run(), name="steward")
    await until(lambda: it.value("last_quarter_start_seconds") != 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
