"""Live sums: when an interval is rolled up, from what, and that a restart changes nothing."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from math import fsum

import pytest
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.pue import label
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.open_interval import OpenInterval, pack_nodes
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rows import NodeRow, PackedRow, Point, Row, pack
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store.line_protocol import LineEncoder
from tests.collector.collecting import INVENTORY, LENGTH, MemoryStore, index, report

KNOWN = index()
START = int(time.time()) // 60 * 60
GRACE, HELD = 3.0, 300.0


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Watched:
    """A live part with a clock of its own, and the points it wrote by interval."""

    def __init__(self, at: float = START, known: SiteIndex = KNOWN) -> None:
        self.clock = Clock(at)
        self.rows: list[Row] = []
        self.bugs: list[str] = []
        self.live = Live(
            known,
            Pace(LENGTH, GRACE, HELD, 60.0),
            write=self.rows.append,
            bug=self.bugs.append,
            clock=self.clock,
        )

    def points(self) -> list[Point]:
        return [row for row in self.rows if isinstance(row, Point)]

    def sums(self, start: int) -> dict[str, float]:
        """Return the site's sums of an interval as they now stand in the store."""
        latest = {p.tags: p.fields for p in self.points() if p.start_seconds == start}
        return {
            name: fsum(float(fields[name]) for fields in latest.values())
            for name in ROLLUP_FIELD_NAMES
        }

    def rolled(self) -> list[int]:
        return [
            point.start_seconds
            for point in self.points()
            if dict(point.tags)["pool"] == "none" and point.start_seconds >= START
        ]

    async def at(self, now: float) -> None:
        self.clock.now = now
        await self.live.roll()


def entry(node: str, start: int, **fields: object) -> Entry:
    has = installed("site-a", node, INVENTORY)
    made = report(node, start, **fields)  # type: ignore[arg-type] # fields of a report by name
    return entry_of(made, has, KNOWN, detail=False)


def meter(joules: float, covered: int = 5000) -> list[wire.Meter]:
    return [wire.Meter(meter="utility", covered_milliseconds=covered, energy_joules=joules)]


async def test_an_interval_is_rolled_up_once_when_its_grace_is_over() -> None:
    it = Watched()
    await it.at(START)
    it.live.add(entry("node-1", START))
    it.live.add(entry("node-2", START))
    await it.at(START + LENGTH + GRACE - 0.1)
    assert it.rolled() == []
    await it.at(START + LENGTH + GRACE)
    await it.at(START + LENGTH + GRACE + 1)
    assert it.rolled() == [START]
    assert it.sums(START)["active_seconds"] == 20
    assert it.sums(START)["unknown_seconds"] == 0


async def test_an_interval_is_rolled_up_before_its_grace_is_over_once_all_have_told() -> None:
    it = Watched()
    await it.at(START)
    starts = [START + n * LENGTH for n in range(4)]
    for start, after in zip(starts[:2], (GRACE, 0.5), strict=True):
        for node in ("node-1", "node-2"):
            it.live.add(entry(node, start, meters=meter(5.0) if node == "node-1" else []))
        await it.at(start + LENGTH + after - 0.1)
        # Of the first nobody knows who will tell.
        assert (start in it.rolled()) is (start > START)
        await it.at(start + LENGTH + after)
        assert start in it.rolled()
    third, fourth = starts[2], starts[3]
    it.live.add(entry("node-1", third, meters=meter(5.0)))
    await it.at(third + LENGTH + 0.5)
    assert third not in it.rolled()
    it.live.add(entry("node-2", third))
    await it.at(third + LENGTH - 0.1)
    assert third not in it.rolled()
    await it.at(third + LENGTH + 0.6)
    assert it.rolled().count(third) == 1
    assert it.sums(third)["active_seconds"] == 20
    await it.at(third + LENGTH + GRACE + 1)
    assert it.rolled().count(third) == 1
    # A meter that told lately is waited for as nodes are.
    for node in ("node-1", "node-2"):
        it.live.add(entry(node, fourth))
    await it.at(fourth + LENGTH + 1)
    assert fourth not in it.rolled()
    await it.at(fourth + LENGTH + GRACE)
    assert fourth in it.rolled()


async def test_silent_intervals_get_their_rows() -> None:
    it = Watched()
    await it.at(START)
    await it.at(START + 31)
    assert sorted(it.rolled()) == [START + k * LENGTH for k in range(5)]
    assert it.sums(START + LENGTH)["unknown_seconds"] == 20


async def test_late_rows_are_gathered_and_rolled_up_again() -> None:
    it = Watched()
    await it.at(START)
    it.live.add(entry("node-1", START))
    await it.at(START + 10)
    assert it.sums(START)["unknown_seconds"] == 10
    it.live.add(entry("node-2", START))
    await it.at(START + 11)
    assert it.rolled().count(START) == 1
    await it.at(START + 16)
    assert it.rolled().count(START) == 2
    assert it.sums(START)["unknown_seconds"] == 0
    assert it.sums(START)["active_seconds"] == 20


async def test_a_packed_interval_is_what_it_was_and_takes_late_rows() -> None:
    it = Watched()
    await it.at(START)
    it.live.add(entry("node-1", START))
    await it.at(START + 10)
    before = it.live.rows(START)
    assert before is not None
    await it.at(START + 40)
    assert it.live._open[START].nodes == {}
    assert it.live.rows(START) == before
    late = entry("node-2", START)
    it.live.add(late)
    await it.at(START + 41)
    assert it.rolled().count(START) == 2
    assert it.sums(START)["active_seconds"] == 20
    await it.at(START + 80)
    assert it.live._open[START].nodes == {}
    after = it.live.rows(START)
    assert after is not None
    assert after.nodes == {**before.nodes, "node-2": late.node_row}


def test_what_comes_while_an_interval_is_packed_takes_the_place_of_what_was_there() -> None:
    interval = OpenInterval()
    made = {name: entry(name, START) for name in ("node-1", "node-2")}
    for each in made.values():
        interval.take(each)
    nodes = interval.all_nodes()
    packed = pack_nodes(nodes)
    again = entry("node-1", START, accelerators=None, host=wire.Host(covered_milliseconds=1))
    interval.take(again)
    interval.keep_packed(nodes, packed)
    assert interval.nodes == {"node-1": again.node_row}
    assert interval.all_nodes() == {
        "node-1": again.node_row,
        "node-2": made["node-2"].node_row,
    }


async def test_a_row_that_comes_last_is_rolled_up_before_its_interval_is_let_go() -> None:
    it = Watched()
    await it.at(START)
    it.live.add(entry("node-1", START))
    await it.at(START + HELD - 1)
    it.live.add(entry("node-2", START))
    await it.at(START + HELD + 0.5)
    assert it.sums(START)["active_seconds"] == 20
    await it.at(START + HELD + 5)
    assert START not in it.live._open


@pytest.mark.parametrize("back", [0, 200])
async def test_a_row_of_an_interval_let_go_does_not_overwrite_what_was_known(back: int) -> None:
    it = Watched()
    await it.at(START)
    it.live.add(entry("node-1", START))
    it.live.add(entry("node-2", START))
    await it.at(START + 20)
    await it.at(START + HELD + 100)
    it.clock.now -= back
    it.live.add(entry("node-1", START))
    await it.at(it.clock.now + 20)
    assert it.sums(START)["active_seconds"] == 20


async def test_a_clock_that_was_far_ahead_does_not_stop_the_live_sums() -> None:
    it = Watched(START + 86_400)
    await it.at(START + 86_410)
    await it.at(START)
    it.live.add(entry("node-1", START))
    await it.at(START + 10)
    assert it.sums(START)["active_seconds"] == 10


async def test_a_group_that_vanished_is_overwritten_with_zeros() -> None:
    it = Watched()
    await it.at(START)
    stranger = wire.Inventory(
        devices=[wire.Device(device="x", vendor="v", accelerator_model="odd")]
    )
    columns = wire.Accelerators(state_milliseconds={"active": [5000]})
    made = report("node-9", START, accelerators=columns, inventory=stranger)
    has = installed("site-a", "node-9", stranger)
    it.live.add(entry_of(made, has, KNOWN, detail=False))
    await it.at(START + 10)
    assert it.sums(START)["active_seconds"] == 5
    empty = report("node-9", START, accelerators=None, host=wire.Host(covered_milliseconds=5000))
    has = installed("site-a", "node-9", wire.Inventory())
    it.live.add(entry_of(empty, has, KNOWN, detail=False))
    await it.at(START + 20)
    assert it.sums(START)["active_seconds"] == 0
    odd = [p for p in it.points() if dict(p.tags)["accelerator_model"] == "odd"]
    assert [p.fields["active_seconds"] for p in odd] == [5.0, 0.0]
    assert set(odd[-1].fields.values()) == {0.0}


async def test_the_power_of_a_late_interval_is_not_taken_for_the_present_one() -> None:
    known = index("[[tariff]]\nper_kwh = 0.36\nvalid_from = 2020-01-01")
    it = Watched(known=known)
    await it.at(START)
    it.live.add(entry("node-1", START, meters=meter(1e6)))
    it.live.add(entry("node-1", START + 5, meters=meter(5e6)))
    await it.at(START + 15)
    it.live.add(entry("node-2", START))
    await it.at(START + 25)
    silent = START + 15
    assert it.rolled().count(START) == 2
    bill = sum(it.sums(silent)[f"{state}_energy_money"] for state in wire.STATES)
    assert bill == pytest.approx(0.36 * 5e6 / 3.6e6)


async def test_a_gap_is_filled_from_the_last_hour_and_no_longer() -> None:
    known = index("[[tariff]]\nper_kwh = 0.36\nvalid_from = 2020-01-01")
    it = Watched(known=known)
    await it.at(START)
    it.live.add(entry("node-1", START, meters=meter(1e6)))
    for passed in (0, 1800, 3600, 3605):
        await it.at(START + passed + 15)
        sums = it.sums(START + passed)
        filled = passed <= 3600
        assert (sums["billed_joules"], sums["unbilled_seconds"]) == ((1e6, 0) if filled else (0, 5))
        assert sums["estimated_billed_joules"] == (1e6 if 0 < passed <= 3600 else 0)


async def test_a_snapshot_is_the_sum_of_the_rows_written() -> None:
    it = Watched()
    await it.at(START)
    for k in range(20):
        start = START + k * LENGTH
        for node in ("node-1", "node-2"):
            if (k, node) != (13, "node-2"):
                it.live.add(entry(node, start, watts=100.0 * k, meters=_only_first(node, k)))
        await it.at(start + 9)
    shot = it.live.snapshot()
    assert shot is not None
    assert shot.end_seconds - shot.start_seconds == 60
    rows: dict[tuple[object, ...], Point] = {}
    for point in it.points():
        if shot.start_seconds <= point.start_seconds < shot.end_seconds:
            rows[point.start_seconds, point.tags] = point
    total = {n: fsum(float(p.fields[n]) for p in rows.values()) for n in ROLLUP_FIELD_NAMES}
    assert shot.sums == pytest.approx(total, rel=1e-12)
    assert shot.sums == add_sums(shot.groups.values())
    assert shot.sums["unknown_seconds"] == 10
    inside = [s for start, s in it.live.intervals() if shot.start_seconds <= start]
    assert add_sums(inside) == pytest.approx(shot.sums, rel=1e-12)


def _only_first(node: str, number: int) -> list[wire.Meter]:
    return meter(1000.0 * number) if node == "node-1" else []


async def stored(it: Watched, entries: Iterable[Entry]) -> MemoryStore:
    store = MemoryStore()
    for made in entries:
        await store.write(made.rows)
    await store.write(it.rows)
    return store


async def test_read_back_equals_what_was_there() -> None:
    before = Watched()
    await before.at(START)
    entries = [
        entry(node, START + k * LENGTH, meters=_only_first(node, k))
        for k in range(12)
        for node in ("node-1", "node-2")
        if (k, node) != (5, "node-2")
    ]
    for made in entries:
        before.live.add(made)
    await before.at(START + 63)
    store = await stored(before, entries)

    after = Watched(START + 63)
    await after.live.read_back(store)
    await after.live.roll()
    for k in range(11):
        assert after.sums(START + k * LENGTH) == before.sums(START + k * LENGTH)
    shots = before.live.snapshot(), after.live.snapshot()
    assert shots[0] == shots[1]

    # A row that comes late after the restart finds the others beside it.
    after.live.add(entry("node-2", START + 5 * LENGTH))
    await after.at(START + 70)
    assert after.sums(START + 5 * LENGTH)["active_seconds"] == 20


async def test_intervals_that_were_slept_through_get_their_rows() -> None:
    before = Watched()
    await before.at(START)
    last = entry("node-1", START)
    before.live.add(last)
    await before.at(START + 10)
    unrolled = entry("node-1", START + LENGTH)
    store = await stored(before, [last, unrolled])
    after = Watched(START + 1500)
    await after.live.read_back(store)
    await after.live.roll()
    assert sorted(after.rolled()) == list(range(START + LENGTH, START + 1495, LENGTH))
    assert after.sums(START + LENGTH)["active_seconds"] == 10
    assert after.sums(START + 600)["unknown_seconds"] == 20
    # No row of before the stop is touched, and none is taken up that is held no longer.
    after.live.add(entry("node-2", START + 600))
    await after.at(START + 1510)
    assert after.sums(START + 600)["unknown_seconds"] == 20


async def test_a_group_of_before_a_restart_is_overwritten_too() -> None:
    before = Watched()
    await before.at(START)
    before.live.add(entry("node-1", START))
    await before.at(START + 10)
    store = await stored(before, [entry("node-1", START)])
    moved = index('[[pool]]\nname = "other"\ncluster = "c2"')
    regrouped = moved.model.asset[0].model_copy(update={"pool": "other"})
    known = SiteIndex(moved.model.model_copy(update={"asset": (regrouped,)}))
    after = Watched(START + 20, known)
    await after.live.read_back(store)
    await after.live.roll()
    await store.write(after.rows)
    by_pool: dict[str, float] = defaultdict(float)
    for point in await store.points(
        "live", "rollup", start_seconds=START, end_seconds=START + LENGTH
    ):
        by_pool[dict(point.tags)["pool"]] += float(point.fields["installed_seconds"])
    assert by_pool == {"chat": 0.0, "other": 20.0, "none": 0.0}


async def test_rows_of_another_site_or_that_cannot_be_read_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    good = pack(NodeRow(length_milliseconds=5000))
    await store.write(
        [
            PackedRow("ledger", "node", "site-b", "node-1", "node-1", START, good),
            PackedRow("ledger", "node", "site-a", "node-1", "node-1", START, "{}"),
            PackedRow("ledger", "node", "site-a", "node-2", "node-2", START, good),
        ]
    )
    it = Watched(START + 20)
    await it.live.read_back(store)
    assert list(it.live._open[START].nodes) == ["node-2"]
    assert "1 rows of node cannot be read" in caplog.text


async def test_a_served_model_of_odd_characters_is_written_all_the_same() -> None:
    it, encoder = Watched(), LineEncoder()
    await it.at(START)
    for number, name in enumerate(["", "a\\", "a\\ b", "nul\0", "line\nbreak", "wéird, =x"]):
        engine = wire.Engine(
            engine=f"e{number}", served_model=name, covered_milliseconds=5000, output_tokens=7
        )
        it.live.add(entry("node-1", START + number * LENGTH, engines=[engine]))
    await it.at(START + 60)
    assert all(encoder.line(point) for point in it.points())
    assert fsum(float(point.fields["output_tokens"]) for point in it.points()) == 6 * 7


async def test_rolling_up_a_large_site_leaves_the_loop_free() -> None:
    nodes = ", ".join(f'"n{k}"' for k in range(4000))
    known = index(
        f'[[asset]]\nnodes = [{nodes}]\npool = "chat"\naccelerator_model = "h100"\n'
        "devices = 8\nin_service = 2020-01-01"
    )
    it = Watched(known=known)
    await it.at(START)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick(), name="ticker")
    await it.at(START + 40)
    ticker.cancel()
    assert ticks > len(it.rolled()) * 3
    assert it.sums(START)["unknown_seconds"] == (4000 * 8 + 4) * 5


async def test_a_bug_in_one_interval_ends_none_of_the_others() -> None:
    it = Watched()
    await it.at(START)
    broken = entry("node-1", START)
    row = broken.node_row
    assert row is not None
    share = type(row.shares[0])("h100", "none", "junk", "junk", "counter", "ok")  # type: ignore[arg-type] # a bug
    it.live.add(replace(broken, node_row=NodeRow(5000, (share,))))
    it.live.add(entry("node-1", START + LENGTH))
    await it.at(START + 15)
    assert it.bugs == ["rollup"]
    assert it.rolled() == [START + LENGTH]


def test_the_last_window_has_the_meters_of_its_own_time() -> None:
    known = index(
        '[[meter]]\nname = "old"\nrole = "it"\ncategory = 1\nvalid_to = 2020-02-01\nstep = "15m"',
        '[[meter]]\nname = "new"\nrole = "it"\ncategory = 3\nvalid_from = 2020-02-01',
        '[[storage]]\nname = "b"\nrated_watts = 1.0\ncapacity_kwh = 1.0\nvalid_to = 2020-02-01',
    )
    changed = known.dated.meter.instants[0]
    for since, category, step, unmetered, says in (
        (-100.0, 1, 900.0, True, "category 1"),
        (30.0, 1, 900.0, True, "category 1, which changes in the window"),
        (100.0, 3, 0.0, False, "category 3"),
    ):
        basis = Watched(changed + since, known).live.window().basis
        assert (basis.category, basis.slowest_step_seconds) == (category, step)
        assert basis.battery_unmetered == unmetered
        assert label(basis, 60.0) == f"iPUE, {says}"
