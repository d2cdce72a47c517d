"""The alerts of a running site: what they write, and that a restart changes nothing."""

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.alerts.engine import Alerts
from meterhouse_collector.alerts.points import is_alert
from meterhouse_collector.alerts.state import Transition
from meterhouse_collector.app import Collector
from meterhouse_collector.config import validate
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.rollup.points import kept_points
from meterhouse_collector.rows import Point, Row
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry
from tests.collector.alerting import CHAT, sums
from tests.collector.collecting import INVENTORY, LENGTH, SITE, MemoryStore, index, report
from tests.collector.hearing import until

QUARTER, DAY = 900, 86_400
START = int(time.time()) // DAY * DAY - 10 * DAY
IDLE = """
[[threshold]]
name = "idle"
kind = "idle"
above = 0.4
clear = 0.2
for = "30s"
"""
ENDING = """
[[tariff]]
per_kwh = 0.2
valid_from = 2020-01-01
[[threshold]]
name = "ends"
kind = "ending"
below = 30.0
for = "1s"
"""


LATE = """
[[pipeline]]
name = "racks"
kind = "power"
promised = [{ said = 2020-01-01, due = 2020-02-01 }]
[[threshold]]
name = "late"
kind = "delivery"
above = 14.0
for = "1h"
"""


class Site:
    """One run of a collector's live part and alerts, with a clock of its own."""

    def __init__(self, store: Store, now: float, site: SiteIndex) -> None:
        self.now = now
        self.site = site
        self.store = store
        self.rows: list[Row] = []
        self.told: list[Transition] = []
        self.telemetry = Telemetry(CollectorRegistry())
        self.live = Live(
            site,
            Pace(LENGTH, 3.0, 300.0, 60.0),
            write=self.rows.append,
            bug=self.telemetry.bug,
            clock=lambda: self.now,
        )
        self.alerts = Alerts(
            self.live,
            site,
            store,
            self.telemetry,
            write=self.rows.append,
            tell=self._tell,
            clock=lambda: self.now,
        )

    def _tell(self, transition: Transition) -> None:
        """Keep what the rules of the test tell, not what is watched without any."""
        if not transition.rule.name.startswith("always:"):
            self.told.append(transition)

    async def begin(self) -> None:
        await self.live.read_back(self.store)
        await self.alerts.read_back(self.store)
        await self.live.roll()

    async def run(self, seconds: int, state: wire.State | None) -> None:
        """Let all devices be in one state, or be silent, and write what was made."""
        for _ in range(seconds // LENGTH):
            start = int(self.now) // LENGTH * LENGTH
            self.now = start + LENGTH + 3.5
            if state is not None:
                for node in ("node-1", "node-2"):
                    made = self.entry(node, start, state)
                    self.live.add(made)
                    self.rows += made.rows
            await self.live.roll()
            await self.alerts.look()
        await self.write()

    async def write(self) -> None:
        rows, self.rows[:] = [*self.rows], []
        assert await self.store.write(rows) == []

    def entry(self, node: str, start: int, state: wire.State) -> Entry:
        columns = wire.Accelerators(state_milliseconds={state: [5000, 5000]})
        made = report(node, start, accelerators=columns)
        has = installed("site-a", node, INVENTORY)
        return entry_of(made, has, self.site, detail=False)

    def open(self) -> list[tuple[str, str, float]]:
        return [
            (key.name, entry.state.phase, entry.state.since_seconds)
            for key, entry in self.alerts.book.open.items()
            if not key.name.startswith("always:")
        ]

    def phases(self) -> list[tuple[str, str]]:
        return [(t.rule.name, t.state.phase) for t in self.told]

    async def events(self) -> list[Point]:
        found = await self.store.points(
            "event", "event", start_seconds=START - 400 * DAY, end_seconds=START + 40 * DAY
        )
        mine = [point for point in found if is_alert(point, "site-a")]
        return [p for p in mine if not str(p.fields["name"]).startswith("always:")]


STORES = ("sqlite", "influx")


async def test_a_restart_neither_fires_again_nor_forgets(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site = index(IDLE)
    first = Site(store, START, site)
    await first.begin()
    await first.run(120, "free")
    assert first.phases() == [("idle", "pending"), ("idle", "firing")]
    [(_, _, since)] = first.open()
    assert len([r for r in caplog.records if r.getMessage().startswith("alert fires: idle ")]) == 1

    # Some hours later it is still idle: nothing is told again.
    second = Site(store, START + 5 * 3600, site)
    await second.begin()
    assert second.open() == [("idle", "firing", since)]
    await second.run(120, "free")
    assert (second.open(), second.told) == ([("idle", "firing", since)], [])

    # Silence does not end it, across a restart neither.
    await second.run(120, None)
    third = Site(store, second.now + 60, site)
    await third.begin()
    await third.run(120, None)
    assert (third.open(), third.told) == ([("idle", "firing", since)], [])
    await third.run(120, "active")
    assert (third.open(), third.phases()) == ([], [("idle", "ok")])
    assert (
        len([r for r in caplog.records if r.getMessage().startswith("alert is over: idle ")]) == 1
    )

    fourth = Site(store, third.now + 10, site)
    await fourth.begin()
    await fourth.run(30, "active")
    assert (fourth.open(), fourth.told) == ([], [])


async def test_what_was_pending_goes_on(store: Store) -> None:
    site = index(IDLE)
    first = Site(store, START, site)
    await first.begin()
    await first.run(70, "free")
    assert first.phases() == [("idle", "pending")]
    [(_, _, since)] = first.open()
    second = Site(store, first.now, site)
    await second.begin()
    assert second.open() == [("idle", "pending", since)]
    await second.run(60, "free")
    assert second.phases() == [("idle", "firing")]
    assert second.told[0].at_seconds - since >= 30


RECLAIMABLE = """
[[threshold]]
name = "taken-back"
kind = "reclaimable_idle"
above = 0.4
for = "10s"
"""


async def test_reclaimable_idle_survives_a_restart_that_forgets_for_how_long(store: Store) -> None:
    site = index(RECLAIMABLE)
    first = Site(store, START, site)
    await first.begin()
    await first.run(290, "held_idle")
    assert first.told == []
    await first.run(60, "held_idle")
    assert first.phases() == [("taken-back", "pending"), ("taken-back", "firing")]
    opened = first.open()
    # Long enough that nothing is read back of how long they were idle.
    second = Site(store, first.now + 2000, site)
    await second.begin()
    await second.run(200, "held_idle")
    assert (second.open(), second.told) == (opened, [])
    await second.run(30, "active")
    assert (second.open(), second.phases()) == ([], [("taken-back", "ok")])


async def test_every_point_has_all_fields_of_the_same_types(store: Store) -> None:
    one = Site(store, START, index(IDLE, ENDING))
    await one.begin()
    await one.run(120, "free")
    await one.run(QUARTER, "free")
    await one.run(120, "active")
    found = await one.events()
    assert {tuple(sorted(p.fields)) for p in found} == {tuple(sorted(found[0].fields))}
    for point in found:
        tags = dict(point.tags)
        named = ("site", "node", "device", "kind", "alert", "alertname", "urgency", "subject")
        assert tags.keys() == {*named}
        assert (tags["kind"], tags["node"], tags["device"]) == ("alert", "none", "none")
        assert (tags["alertname"], tags["subject"]) == ("idle", "site site-a")
        assert point.fields["firing"] == float(point.fields["state"] == "firing")
        assert tags["alert"] == point.fields["fingerprint"]
        assert msgspec.json.decode(str(point.fields["labels"])) == {"site": "site-a"}
        assert isinstance(point.fields["value"], float)
    states = [(p.fields["before"], p.fields["state"]) for p in found]
    # The state of what is open is there in each quarter, too.
    assert ("firing", "firing") in states
    assert [s for s in states if s[0] != s[1]] == [
        ("ok", "pending"),
        ("pending", "firing"),
        ("firing", "ok"),
    ]


async def test_the_point_of_a_transition_stands_where_a_quarter_begins() -> None:
    memory = MemoryStore()
    one = Site(memory, START, index(IDLE))
    await one.begin()
    for shift in range(0, 60, LENGTH):
        # Wherever the transition falls, also into the second in which states are written.
        again = Site(memory, START + shift * DAY // 60 + QUARTER - 120 + shift, index(IDLE))
        await again.live.roll()
        await again.run(180, "free")
        fired = [t.at_seconds for t in again.told if t.state.phase == "firing"]
        states = {p.start_seconds: p.fields["before"] for p in await again.events()}
        assert [states[int(at)] for at in fired] == ["pending"]


async def test_an_alert_whose_rule_was_taken_out_is_over_after_a_restart(store: Store) -> None:
    first = Site(store, START, index(IDLE))
    await first.begin()
    await first.run(120, "free")
    second = Site(store, first.now, index())
    await second.begin()
    assert len(second.open()) == 1
    await second.run(30, "free")
    assert (second.open(), second.phases()) == ([], [("idle", "ok")])


async def test_alerts_of_another_site_are_not_taken_up(store: Store) -> None:
    first = Site(store, START, index(IDLE))
    await first.begin()
    await first.run(120, "free")
    moved = SiteIndex(index(IDLE).model.model_copy(update={"name": "site-b"}))
    second = Site(store, first.now, moved)
    await second.alerts.read_back(store)
    assert second.open() == []


async def test_after_long_sleep_the_last_states_are_found() -> None:
    memory = MemoryStore()
    first = Site(memory, START, index(IDLE))
    await first.begin()
    await first.run(120, "free")
    since = first.open()
    for days in (1, 8, 36, 300):
        later = Site(memory, first.now + days * DAY, index(IDLE))
        await later.alerts.read_back(memory)
        assert later.open() == since


async def test_a_point_that_cannot_be_read_costs_only_its_own_alert(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = MemoryStore()
    first = Site(memory, START, index(IDLE))
    await first.begin()
    await first.run(120, "free")
    [point] = [p for p in await first.events() if p.fields["state"] == "firing"]
    tags = tuple((k, "other" if k == "alert" else v) for k, v in point.tags)
    await memory.write([point._replace(tags=tags, fields={**point.fields, "labels": "{"})])
    second = Site(memory, first.now, index(IDLE))
    await second.alerts.read_back(memory)
    assert len(second.open()) == 1
    assert "1 alerts cannot be read back" in caplog.text


async def test_dates_and_budgets_are_looked_at_each_quarter() -> None:
    ends = ENDING + "[[tariff]]\nname = 'ppa'\nper_kwh = 0.1\nvalid_from = 2020-01-01\n"
    day = time.strftime("%Y-%m-%d", time.gmtime(START + 10 * DAY))
    begins = time.strftime("%Y-%m-%d", time.gmtime(START - 2 * DAY))
    ends += f"valid_to = {day}\n"
    ends += f"[[budget]]\nname = 'all'\namount = 100\nperiod = 'year'\nvalid_from = {begins}\n"
    memory = MemoryStore()
    for start in range(START - 2 * DAY, START + 2 * QUARTER, QUARTER):
        await memory.write(kept_points(start, {CHAT: sums(active_capital_money=1.0)}))
    one = Site(memory, START + 4 * QUARTER, index(ends))
    await one.begin()
    await one.run(30, "active")
    assert set(one.phases()) == {
        ("ends", "pending"),
        ("budget:all:spent", "firing"),
        ("budget:all:forecast", "pending"),
        ("budget:all:burn:21600s:1800s", "firing"),
    }
    await one.run(QUARTER, "active")
    assert ("ends", "firing") in one.phases()


async def test_under_use_ends_with_its_commitment() -> None:
    begins, ends = (time.strftime("%Y-%m-%d", time.gmtime(START + days * DAY)) for days in (-20, 0))
    more = f"""
[[contract]]
name = "cloud"
side = "bought"
counterparty = "Cloud"
pools = ["chat"]
units = 2
rate = 2.0
valid_from = {begins}
[[commitment]]
name = "hours"
contract = "cloud"
category = "usage"
interval = "term"
device_hours = 2000
valid_from = {begins}
valid_to = {ends}
[[threshold]]
name = "unused"
kind = "commitment"
below = 0.9
for = "1s"
"""
    memory = MemoryStore()
    for start in range(START - 20 * DAY, START - 2 * QUARTER, QUARTER):
        await memory.write(kept_points(start, {CHAT: sums(active_seconds=900.0)}))
    one = Site(memory, START - 2 * QUARTER, index(more))
    await one.begin()
    await one.run(QUARTER, "active")
    assert one.phases() == [("unused", "pending"), ("unused", "firing")]
    assert one.told[-1].state.value == pytest.approx(480 / 2000, rel=0.01)
    await one.run(3 * QUARTER, "active")
    assert (one.phases()[-1], one.open()) == (("unused", "ok"), [])


async def test_a_store_that_is_away_holds_up_only_what_is_summed() -> None:
    memory = MemoryStore()
    begins = time.strftime("%Y-%m-%d", time.gmtime(START - 2 * DAY))
    more = f"[[budget]]\nname = 'all'\namount = 100\nvalid_from = {begins}\n"
    one = Site(memory, START, index(IDLE, more))
    await one.begin()
    memory.down = "no answer"
    for step in range(20):
        start = START + step * LENGTH
        one.now = start + LENGTH + 3.5
        for node in ("node-1", "node-2"):
            one.live.add(one.entry(node, start, "free"))
        await one.live.roll()
        with suppress(StoreUnavailableError):
            await one.alerts.look()
    assert ("idle", "firing") in one.phases()


async def test_what_is_open_is_counted() -> None:
    one = Site(MemoryStore(), START, index(IDLE))
    await one.begin()
    await one.run(120, "free")

    def shown(state: str) -> float | None:
        labels = {"kind": "idle", "state": state}
        return one.telemetry.registry.get_sample_value("meterhouse_collector_alerts", labels)

    assert (shown("pending"), shown("firing")) == (0.0, 1.0)
    await one.run(120, "active")
    assert (shown("pending"), shown("firing")) == (0.0, 0.0)


async def test_a_collector_keeps_its_alerts_over_a_stop(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE + LATE)
    table = {
        "site": str(tmp_path / "site.toml"),
        "sqlite": {"path": str(tmp_path / "rows.sqlite")},
        "socket": {"path": str(tmp_path / "c.sock")},
    }
    seen = []
    for _ in range(2):
        collector = Collector(validate(table, "collector.toml"))
        task = asyncio.create_task(collector.run(), name="collector")
        await until(lambda c=collector: bool(c.alerts.book.open))  # type: ignore[misc]
        seen.append(dict(collector.alerts.book.open))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    kept = [{k: v for k, v in each.items() if k.name == "late"} for each in seen]
    assert len(kept[0]) == 2
    assert kept[0] == kept[1]


async def test_work_that_was_agreed_to_wakes_nobody_without_any_threshold() -> None:
    begins, ends = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + hours * 3600)) for hours in (-1, 2)
    )
    sold = """
[[tenant]]
name = "acme"
[[contract]]
name = "gpus"
side = "sold"
counterparty = "Acme"
tenant = "acme"
pools = ["chat"]
units = 4
rate = 2.0
excludes_planned = true
valid_from = 2020-01-01
"""
    work = f'outage = [{{ begins = {begins}, ends = {ends}, units = 3, reason = "planned"'
    work += ', agreed_by = "Acme" }]\n'
    for more, phases in ((sold, {"firing"}), (sold + work, set())):
        one = Site(MemoryStore(), START, index(more))
        await one.begin()
        await one.run(120, "active")
        # One node of two, of four devices, is down.
        for _ in range(400 // LENGTH):
            start = int(one.now) // LENGTH * LENGTH
            one.now = start + LENGTH + 3.5
            one.live.add(one.entry("node-1", start, "active"))
            one.live.add(one.entry("node-2", start, "unhealthy"))
            await one.live.roll()
            await one.alerts.look()
        found = {
            entry.state.phase
            for key, entry in one.alerts.book.open.items()
            if key.name == "always:under_delivered"
        }
        assert found == phases
