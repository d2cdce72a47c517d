"""Idle capacity: when it alerts, and that silence neither fires an alert nor ends one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.alerts.conditions import idle
from meterhouse_collector.alerts.held import Held, HeldRuns, continued
from meterhouse_collector.alerts.state import Rule, State, step
from meterhouse_collector.kpi.reclaimable import HeldInterval, reclaimable
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import NodeRow, Share
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.targets import Scope
from tests.collector.alerting import (
    BATCH,
    CHAT,
    SITE,
    devices,
    known,
    one,
    sums,
    threshold,
    verdict,
)
from tests.collector.collecting import LENGTH, index

POOL = Scope(pool="chat")


@pytest.mark.parametrize(
    ("idle_devices", "does"), [(400, "fires"), (300, "keeps"), (250, "keeps"), (200, "clears")]
)
def test_the_idle_ratio_of_a_scope(idle_devices: int, does: str) -> None:
    groups = {
        CHAT: devices(active=1000 - idle_devices, free=idle_devices),
        BATCH: devices(active=1000),
    }
    watch = threshold("idle", above=0.3, clear=0.2, scope=POOL)
    assert verdict(one(idle.idle_ratio(watch, known(groups)))) == does
    whole = one(idle.idle_ratio(threshold("idle", above=0.3), known(groups)))
    assert whole.value == idle_devices / 2000


def test_idle_devices_that_go_silent_do_not_clear_an_alert() -> None:
    """The worked check of the definitions: 700 active, 300 idle, then 200 of the idle silent."""
    watch = threshold("idle", above=0.2)
    before = one(idle.idle_ratio(watch, known({CHAT: devices(active=700, free=300)})))
    assert (before.value, verdict(before)) == (0.3, "fires")
    silent = known({CHAT: devices(active=700, free=100, unknown=200)})
    after = one(idle.idle_ratio(watch, silent))
    assert after.value is None
    assert after.evidence["coverage_ratio"] == 0.8
    assert (after.evidence["low_ratio"], after.evidence["high_ratio"]) == (0.1, 0.3)
    firing = State("firing", 0.0, 0.3, 0.2)
    assert step(firing, after, Rule("watch", "idle", "ticket", 300.0), 1e6) == (firing, ())


def test_reclaimable_devices_that_go_silent_do_not_clear_an_alert() -> None:
    watch = threshold("reclaimable_idle", above=0.2)
    before = known({CHAT: devices(active=700, held_idle=300)}, held={CHAT: Held(300, 300)})
    assert verdict(one(idle.reclaimable_ratio(watch, before))) == "fires"
    groups = {CHAT: devices(active=700, held_idle=100, unknown=200)}
    silent = one(idle.reclaimable_ratio(watch, known(groups, held={CHAT: Held(100, 300)})))
    assert (silent.value, verdict(silent)) == (0.1, "unknown")
    at_work = one(idle.reclaimable_ratio(watch, known(groups, held={CHAT: Held(100, 150)})))
    assert verdict(at_work) == "clears"


@pytest.mark.parametrize("kind", ["reclaimable_idle", "idle_cost", "idle"])
def test_without_devices_there_is_no_value(kind: str) -> None:
    look = {
        "idle": idle.idle_ratio,
        "reclaimable_idle": idle.reclaimable_ratio,
        "idle_cost": idle.reclaimable_cost,
    }[kind]
    assert verdict(one(look(threshold(kind, above=0.2), known({SITE: sums()})))) == "unknown"


def priced() -> Sums:
    """Return ten devices of 2 EUR an hour each, two of them idle at 0.5 EUR of energy an hour."""
    hours = 10 * 300.0 / 3600
    made = devices(active=8, held_idle=2)
    return made | sums(
        active_seconds=made["active_seconds"],
        held_idle_seconds=made["held_idle_seconds"],
        installed_seconds=made["installed_seconds"],
        active_capital_money=hours * 0.8 * 1.5,
        held_idle_capital_money=hours * 0.2 * 1.5,
        active_rent_money=hours * 0.8 * 0.5,
        held_idle_rent_money=hours * 0.2 * 0.5,
        active_energy_money=1000.0,
        held_idle_energy_money=hours * 0.2 * 0.5,
    )


@pytest.mark.parametrize(("above", "does"), [(4.9, "fires"), (5.1, "clears")])
def test_what_reclaimable_devices_cost_per_hour(above: float, does: str) -> None:
    held = known({CHAT: priced()}, held={CHAT: Held(2.0, 2.0)})
    found = one(idle.reclaimable_cost(threshold("idle_cost", above=above), held))
    assert found.value == pytest.approx(2 * 2.0 + 2 * 0.5)
    assert found.evidence["energy_money_per_hour"] == pytest.approx(1.0)
    assert verdict(found) == does


def test_without_prices_idle_has_no_cost() -> None:
    held = known({CHAT: priced() | {"unpriced_seconds": 300.0}}, held={CHAT: Held(2.0, 2.0)})
    found = one(idle.reclaimable_cost(threshold("idle_cost", above=1.0), held))
    assert verdict(found) == "unknown"


# Device by device: the site has two nodes of two devices each in pool "chat".


def node(*states: str, holder: str = "none") -> NodeRow:
    """Return the row of a node whose devices are each in one state all the time."""
    milliseconds = tuple(LENGTH * 1000 * states.count(state) for state in wire.STATES)
    share = Share("h100", holder, milliseconds, (None,) * 5, "counter", "missing")  # type: ignore[arg-type] # five
    return NodeRow(length_milliseconds=LENGTH * 1000, shares=(share,))


class Course:
    """Intervals one after the other."""

    def __init__(self, known_site: SiteIndex) -> None:
        self.runs = HeldRuns(known_site)
        self.start = 1_700_000_000 // LENGTH * LENGTH

    def then(self, intervals: int, **nodes: NodeRow) -> Held:
        for _ in range(intervals):
            rows = {name.replace("_", "-"): row for name, row in nodes.items()}
            self.runs.add(IntervalRows(self.start, LENGTH, rows, {}, {}))
            self.start += LENGTH
        found = self.runs.held()
        return Held(
            sum(held.low_devices for held in found.values()),
            sum(held.high_devices for held in found.values()),
        )


def site(*more: str) -> SiteIndex:
    known_site = index(*more)
    return SiteIndex(known_site.model.model_copy(update={"engine": ()}))


BUSY = node("active", "active")
IDLE = node("held_idle", "active")


def test_what_is_held_idle_for_five_minutes_is_reclaimable() -> None:
    course = Course(site())
    # At first nobody knows for how long.
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(0, 1)
    assert course.then(58, node_1=IDLE, node_2=BUSY) == Held(0, 1)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(1, 1)
    assert course.then(1, node_1=BUSY, node_2=BUSY) == Held(0, 0)
    # Work is known, so the time begins anew for certain.
    assert course.then(59, node_1=IDLE, node_2=BUSY) == Held(0, 0)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(1, 1)


def test_free_devices_are_not_reclaimable() -> None:
    assert Course(site()).then(100, node_1=node("free", "free"), node_2=BUSY) == Held(0, 0)


def test_silence_is_between_both() -> None:
    course = Course(site())
    course.then(1, node_1=BUSY, node_2=BUSY)
    assert course.then(60, node_1=IDLE, node_2=BUSY) == Held(1, 1)
    # A node that is silent for one interval may have gone on being idle, or not.
    assert course.then(1, node_2=BUSY) == Held(0, 1)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(0, 1)
    assert course.then(58, node_1=IDLE, node_2=BUSY) == Held(0, 1)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(1, 1)
    unknown = node("unknown", "active")
    assert course.then(1, node_1=unknown, node_2=BUSY) == Held(0, 1)
    # A device that was at work, and is silent for long, may be idle by now.
    assert course.then(59, node_1=unknown) == Held(0, 1)
    assert course.then(1, node_1=unknown) == Held(0, 3)


def test_a_node_that_somebody_says_is_down_is_not_held() -> None:
    begins = "begins = 2023-11-01T00:00:00Z\n"
    down = '[[downtime]]\nnodes = ["node-1"]\nreason = "lost"\nsaid_by = "ticket 7"\n' + begins
    assert Course(site(down)).then(61, node_2=BUSY) == Held(0, 0)
    assert Course(site(down)).then(61, node_1=IDLE, node_2=BUSY) == Held(0, 0)
    # Of one that is down in part nobody says which devices those are.
    assert Course(site(down + "devices = 1\n")).then(61, node_2=BUSY) == Held(0, 2)


def test_after_a_hole_nothing_is_known_of_before() -> None:
    course = Course(site())
    course.then(61, node_1=IDLE, node_2=BUSY)
    course.start += LENGTH
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(0, 1)


def test_a_pool_says_after_what_time() -> None:
    known_site = site()
    pools = tuple(p.model_copy(update={"idle_after": 10.0}) for p in known_site.model.pool)
    course = Course(SiteIndex(known_site.model.model_copy(update={"pool": pools})))
    course.then(1, node_1=BUSY, node_2=BUSY)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(0, 0)
    assert course.then(1, node_1=IDLE, node_2=BUSY) == Held(1, 1)


def test_devices_that_the_register_lacks_are_in_their_own_pool() -> None:
    course = Course(site())
    course.then(61, node_9=node("held_idle"))
    assert {group.pool for group in course.runs.held()} == {"chat", "unregistered"}


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 6))
def test_interval_by_interval_is_the_same_as_at_once(idles: list[int], needed: int) -> None:
    runs: list[int] = []
    for devices_idle in idles:
        runs = continued(runs, devices_idle)
    intervals = [
        HeldInterval(k * 5.0, devices_idle * 5.0, 20.0) for k, devices_idle in enumerate(idles)
    ]
    whole = reclaimable(intervals=intervals, interval_seconds=5, idle_after_seconds=5.0 * needed)
    assert sum(1 for run in runs if run >= needed) == whole.now_devices
