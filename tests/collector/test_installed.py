"""Without an asset register what a node once showed stays: live, in quarters, after a kill."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.__main__ import main
from meterhouse_collector.alerts.held import Held, HeldRuns
from meterhouse_collector.alerts.known import Silence
from meterhouse_collector.alerts.things import ThingWatch
from meterhouse_collector.app import Collector
from meterhouse_collector.config import CollectorConfig, validate
from meterhouse_collector.installed import InstalledElsewhere, installed_row, learn_installed
from meterhouse_collector.intake import Grid, Intake
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.part import IntakePart
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.rollup.points import group_of
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import PackedRow, Row
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.seen import Word
from meterhouse_collector.store import Store
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from meterhouse_collector.telemetry import Telemetry, value_of
from meterhouse_collector.web.fleet import Fleet
from meterhouse_collector.web.health import agents_of
from tests.collector.collecting import MemoryStore, now_on_grid, report, status, topic
from tests.collector.hearing import until
from tests.collector.stores import influx_config
from tests.servers import InfluxDB, Port

SITE = 'name = "site-a"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
QUARTER = 900
STEP = 60
# The last midnight that all of a quarter of both days lies behind: that of the retirements.
MIDNIGHT = (int(time.time()) - 3600) // 86_400 * 86_400
FIRST = MIDNIGHT - 2 * QUARTER
DAY = f"{datetime.fromtimestamp(MIDNIGHT, UTC):%Y-%m-%d}"
RETIRED = f'[[retire]]\nnode = "node-1"\ndevices = 1\non = {DAY}\n'
GROUP = GroupKey("site-a", pool="unregistered", accelerator_model="h100")
STATES = tuple(f"{state}_seconds" for state in wire.STATES)


def devices(count: int, first: int = 0) -> wire.Inventory:
    return wire.Inventory(
        devices=[
            wire.Device(device=f"gpu-{n}", vendor="nvidia", accelerator_model="h100")
            for n in range(first, first + count)
        ]
    )


def told(start: int, count: int, node: str = "node-1") -> wire.Report:
    """Return what a node with so many devices, all at work, says of a minute."""
    work = wire.Accelerators(
        state_milliseconds={"active": [STEP * 1000] * count},
        state_joules={"active": [500.0 * STEP] * count},
    )
    return report(node, start, inventory=devices(count), length_seconds=STEP, accelerators=work)


class Life:
    """One life of a collector over a store, from its start until it is killed."""

    def __init__(self, store: Store, *more: str) -> None:
        self.store = store
        self.now = float(FIRST)
        self.index = SiteIndex(parse_site(SITE + "".join(more), "site.toml"))
        telemetry = Telemetry(CollectorRegistry())
        self.entries: list[Entry] = []
        self.rows: list[Row] = []
        self.intake = Intake(
            self.index,
            Grid(STEP, STEP),
            receipts=Receipts(length_seconds=STEP, every_seconds=30.0),
            telemetry=telemetry,
            accept=self._accept,
            write=self.rows.append,
            clock=lambda: self.now,
        )
        self.live = Live(
            self.index,
            Pace(STEP, 3.0, 300.0, 600.0),
            write=lambda _: None,
            bug=telemetry.bug,
            clock=lambda: self.now,
        )

    def _accept(self, entry: Entry) -> bool:
        self.entries.append(entry)
        self.live.add(entry)
        return True

    async def begin(self) -> None:
        await learn_installed(self.store, self.index)

    async def minute(self, start: int, count: int | None = None) -> None:
        """Play a minute in which a node tells of so many devices, or says nothing."""
        self.now = start + STEP + 1.0
        if count is not None:
            heard = status("node-1", inventory=devices(count))
            self.intake.message(topic("status"), wire.encode(heard))
            self.intake.message(topic("report"), wire.encode(told(start, count)))
        self.now = start + STEP + 3.0
        await self.live.roll()
        rows = [row for entry in self.entries for row in entry.rows]
        assert await self.store.write([*rows, *self.rows]) == []
        self.entries.clear()
        self.rows.clear()

    def sums(self, start: int) -> dict[str, float]:
        """Return the devices of each state in a minute, live."""
        [groups] = self.live.rolled(start, start + STEP)
        return whole(groups.get(GROUP, {}), STEP)


def whole(sums: "dict[str, float] | object", seconds: int) -> dict[str, float]:
    """Return sums as devices, by state, those of no second left out."""
    assert isinstance(sums, dict)
    found = {name.removesuffix("_seconds"): sums[name] / seconds for name in STATES if name in sums}
    assert fsum(found.values()) == sums.get("installed_seconds", 0) / seconds
    return {name: value for name, value in found.items() if value}


async def quarter(store: Store, index: SiteIndex, start: int) -> dict[str, float]:
    """Sum a quarter, and return its devices by state as they then stand in the store."""
    await settle_quarters(store, index, [start])
    return await kept(store, start)


async def kept(store: Store, start: int) -> dict[str, float]:
    points = await store.points("kept", "rollup", start_seconds=start, end_seconds=start + 1)
    mine = [dict(point.fields) for point in points if group_of(point.tags) == GROUP]
    assert len(mine) <= 1
    return whole(mine[0], QUARTER) if mine else {}


STORES = ("sqlite", "influx")


async def play(life: Life, start: int, counts: Sequence[int | None]) -> list[dict[str, float]]:
    found = []
    for number, count in enumerate(counts):
        at = start + number * STEP
        await life.minute(at, count)
        found.append(life.sums(at))
    return found


async def test_what_was_once_seen_stays_installed_until_it_is_retired(store: Store) -> None:
    first = Life(store)
    await first.begin()
    live = await play(first, FIRST, [*[8] * 5, *[7] * 5, *[None] * 5])
    assert live == [{"active": 8}] * 5 + [{"active": 7, "unknown": 1}] * 5 + [{"unknown": 8}] * 5
    summed = await quarter(store, first.index, FIRST)
    assert summed == {"active": 5.0, "unknown": 3.0}
    # It is killed; the next one knows what it showed, and hears of less.
    second = Life(store)
    await second.begin()
    live = await play(second, FIRST + QUARTER, [*[7] * 12, *[None] * 3])
    assert live == [{"active": 7, "unknown": 1}] * 12 + [{"unknown": 8}] * 3
    summed = await quarter(store, second.index, FIRST + QUARTER)
    assert summed == pytest.approx({"active": 5.6, "unknown": 2.4})
    # One is retired from midnight on; what was before is as it was.
    third = Life(store, RETIRED)
    await third.begin()
    live = await play(third, MIDNIGHT, [*[7] * 12, *[None] * 3])
    assert live == [{"active": 7}] * 12 + [{"unknown": 7}] * 3
    summed = await quarter(store, third.index, MIDNIGHT)
    assert summed == pytest.approx({"active": 5.6, "unknown": 1.4})
    again = await quarter(store, third.index, FIRST + QUARTER)
    assert again == pytest.approx({"active": 5.6, "unknown": 2.4})
    # It is put back: it is shown, and counts from then on.
    await third.minute(MIDNIGHT + QUARTER, 8)
    await third.minute(MIDNIGHT + QUARTER + STEP, 7)
    assert third.sums(MIDNIGHT + QUARTER + STEP) == {"active": 7, "unknown": 1}


async def test_a_node_that_says_nothing_at_all_after_a_restart_is_unknown(store: Store) -> None:
    first = Life(store)
    await first.begin()
    await first.minute(FIRST, 8)
    second = Life(store)
    await second.begin()
    assert await quarter(store, second.index, FIRST + QUARTER) == {"unknown": 8}
    silent = agents_of({}, second.index, second.live.pace, float(FIRST + QUARTER))
    assert [(view.name, view.state) for view in silent.list] == [("node-1", "unseen")]


async def test_a_retirement_that_is_said_late_holds_from_its_day(store: Store) -> None:
    first = Life(store)
    await first.minute(FIRST, 8)
    live = await play(first, MIDNIGHT, [7] * 15)
    assert live == [{"active": 7, "unknown": 1}] * 15
    assert await quarter(store, first.index, MIDNIGHT) == {"active": 7, "unknown": 1}
    second = Life(store, RETIRED)
    await second.begin()
    assert await quarter(store, second.index, MIDNIGHT) == {"active": 7}


async def test_a_device_that_is_not_told_any_more_may_be_idle() -> None:
    life = Life(MemoryStore())
    runs, high = HeldRuns(life.index), []
    for number, count in enumerate((8, 7, 7, 7, 7, 7)):
        await life.minute(FIRST + number * STEP, count)
        runs.add(rows_of(life, FIRST + number * STEP))
        high.append(runs.held().get(GROUP, Held()).high_devices)
    # Reclaimable is what has lasted for five minutes.
    assert high == [0, 0, 0, 0, 0, 1]


async def test_a_retired_node_is_gone(store: Store) -> None:
    first = Life(store)
    await first.minute(FIRST, 8)
    second = Life(store, RETIRED.replace("devices = 1\n", ""))
    await second.begin()
    assert await quarter(store, second.index, FIRST + QUARTER) == {"unknown": 8}
    assert await quarter(store, second.index, MIDNIGHT) == {}


async def test_another_process_learns_what_is_noted_since(store: Store) -> None:
    writer, it = Life(store), Life(store)
    elsewhere = InstalledElsewhere(store, it.index, clock=lambda: it.now)
    await elsewhere.learn()
    assert list(it.index.nodes) == []
    await writer.minute(FIRST, 7)
    it.now = FIRST + 120.0
    await elsewhere.learn()
    plan = it.index.plan("node-1", FIRST)
    assert plan is not None
    assert len(plan.slots) == 7
    # It was noted long ago, and is written only now.
    late = installed_row("site-a", "node-2", FIRST, (Word(FIRST, (("h100", 4),)),))
    it.now = FIRST + 1800.0
    await elsewhere.learn()
    await store.write([late])
    await elsewhere.learn()
    assert list(it.index.nodes) == ["node-1"]
    it.now = FIRST + 3700.0
    await elsewhere.learn()
    assert list(it.index.nodes) == ["node-1", "node-2"]


async def test_what_a_report_shows_is_noted_with_it_and_once() -> None:
    life = Life(MemoryStore())
    noted = []
    for number, count in enumerate((8, 8, 7, 8, 9)):
        at = FIRST + number * STEP
        life.now = at + STEP + 1.0
        heard = status("node-1", inventory=devices(count))
        life.intake.message(topic("status"), wire.encode(heard))
        life.intake.message(topic("report"), wire.encode(told(at, count)))
        rows = life.entries[-1].rows
        noted.append([r.row for r in rows if isinstance(r, PackedRow) and r.policy == "kept"])
    first = f'[{FIRST},{{"h100":8}}]'
    last = f'[{FIRST + 4 * STEP},{{"h100":9}}]'
    assert noted == [[f'{{"words":[{first}]}}'], [], [], [], [f'{{"words":[{first},{last}]}}']]


async def test_rows_that_cannot_be_read_or_are_another_sites_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, it = MemoryStore(), Life(MemoryStore())
    good = installed_row("site-a", "node-1", FIRST, (Word(FIRST, (("h100", 2),)),))
    bad = [
        PackedRow("kept", "installed", "site-a", f"bad-{number}", "n", FIRST, text)
        for number, text in enumerate(("{", '{"words":[[1,{"h100":-1}]]}', '{"words":7}'))
    ]
    foreign = installed_row("site-b", "node-9", FIRST, (Word(FIRST, (("h100", 2),)),))
    await store.write([good, foreign, *bad])
    await learn_installed(store, it.index)
    assert list(it.index.nodes) == ["node-1"]
    assert "3 rows of installed cannot be read" in caplog.text


async def test_a_card_that_is_missing_is_drawn_as_unknown() -> None:
    life = Life(MemoryStore())
    fleet = Fleet(life.index)
    life.intake.seen = fleet.take
    for number, count in enumerate((8, 7)):
        await life.minute(FIRST + number * STEP, count)
    cells = fleet.cells(FIRST + STEP, FIRST + 2 * STEP)
    assert cells.states == "aaaaaaau"
    [node] = fleet.layout(FIRST + 2 * STEP).nodes
    assert (node.pool, len(node.devices)) == ("unregistered", 8)


async def test_the_silence_of_a_node_is_watched_from_its_last_word_and_after_a_restart() -> None:
    store = MemoryStore()
    first = Life(store)
    first_watch = ThingWatch(first.index)
    for number, count in enumerate((8, None, None)):
        at = FIRST + number * STEP
        await first.minute(at, count)
        first_watch.add(rows_of(first, at))
    assert first_watch.seen().nodes == (Silence("node-1", 120.0),)
    second = Life(store)
    await second.begin()
    await second.minute(FIRST + 3 * STEP)
    await second.minute(FIRST + 4 * STEP)
    watch = ThingWatch(second.index)
    watch.add(rows_of(second, FIRST + 4 * STEP))
    assert watch.seen().nodes == (Silence("node-1", 60.0, at_least=True),)


def rows_of(life: Life, start: int) -> IntervalRows:
    rows = life.live.rows(start)
    assert rows is not None
    return rows


def collector(folder: Path) -> Collector:
    (folder / "site.toml").write_text(SITE)
    (folder / "collector.toml").write_text(
        f'site = "{folder}/site.toml"\n[socket]\npath = "{folder}/c.sock"\n'
        f'[sqlite]\npath = "{folder}/rows.sqlite"\n'
    )
    table = {
        "site": str(folder / "site.toml"),
        "sqlite": {"path": str(folder / "rows.sqlite")},
        "socket": {"path": str(folder / "c.sock")},
    }
    config: CollectorConfig = validate(table, "collector.toml")
    return Collector(config)


@asynccontextmanager
async def running(it: Collector | IntakePart) -> AsyncIterator[None]:
    """Have it run until the end, at which it writes what it holds."""
    task = asyncio.create_task(it.run(), name="collector")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_collector_knows_after_its_restart_what_nodes_had(tmp_path: Path) -> None:
    first = collector(tmp_path)
    async with running(first):
        await until((tmp_path / "c.sock").exists)
        _, writer = await asyncio.open_unix_connection(tmp_path / "c.sock")
        writer.write(wire.frame(topic("status"), wire.encode(status())))
        writer.write(wire.frame(topic("report"), wire.encode(report())))
        await until(lambda: first.telemetry.taken.total == 1)
        writer.close()
    second = collector(tmp_path)
    async with running(second):
        await until(lambda: value_of(second.telemetry.store_up) == 1)
        plan = second.index.plan("node-1", now_on_grid())
        assert plan is not None
        assert len(plan.slots) == 2


async def test_an_intake_and_its_steward_know_after_a_start_what_nodes_had(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    influx = await influx_config(influxdb_shared, tmp_path)
    (tmp_path / "site.toml").write_text(SITE)
    port = Port()

    def config(**more: object) -> CollectorConfig:
        table = {
            "site": str(tmp_path / "site.toml"),
            "influx": {
                "url": influx.url,
                "org": influx.org,
                "database": influx.database,
                "token": {"file": str(tmp_path / "collector.token")},
            },
            # Nobody is there: what is heard comes by hand.
            "mqtt": {"host": "127.0.0.1", "port": port.number},
            **more,
        }
        return validate(table, "collector.toml")

    intake = config(role="intake", part="a", slots="00-63")
    try:
        first = IntakePart(intake)
        async with running(first):
            await until(lambda: value_of(first.telemetry.store_up) == 1)
            first.intake.message(topic("status"), wire.encode(status()))
            first.intake.message(topic("report"), wire.encode(report()))
        for it in (IntakePart(intake), Collector(config(role="steward"))):
            async with running(it):
                await until(lambda it=it: value_of(it.telemetry.store_up) == 1)  # type: ignore[misc] # bound now
                plan = it.index.plan("node-1", now_on_grid())
                assert plan is not None
                assert len(plan.slots) == 2
    finally:
        port.release()


def test_a_command_rates_again_what_was_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collector(tmp_path)

    async def played() -> None:
        store = SqliteStore(SqliteConfig(path=str(tmp_path / "rows.sqlite")))
        await store.open()
        life = Life(store)
        await play(life, FIRST, [8, *[None] * 14])
        await settle_quarters(store, life.index, [FIRST])
        await store.close()

    async def standing() -> dict[str, float]:
        store = SqliteStore(SqliteConfig(path=str(tmp_path / "rows.sqlite")))
        await store.open()
        found = await kept(store, FIRST)
        await store.close()
        return found

    asyncio.run(played())
    since = f"{datetime.fromtimestamp(FIRST, UTC):%Y-%m-%dT%H:%M}"
    asked = ["rerate", "-c", str(tmp_path / "collector.toml"), "--from", since]
    assert main([*asked, "--what-if", str(tmp_path / "site.toml")]) == 0
    # 8 devices for a quarter of an hour.
    assert "2.0 device-hours have no price" in capsys.readouterr().out
    assert main(asked) == 0
    assert "2.0 device-hours have no price" in capsys.readouterr().out
    assert asyncio.run(standing()) == pytest.approx({"active": 8 / 15, "unknown": 112 / 15})
    explain = ["explain", "idle_capacity_ratio", "-c", str(tmp_path / "collector.toml")]
    assert main([*explain, "--at", since, "--format", "json"]) == 0
    assert "coverage 6.7% is below 95%" in capsys.readouterr().out
