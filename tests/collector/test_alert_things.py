"""What is followed of nodes, meters, devices and the plant: known truth in, equality out."""

from collections.abc import Mapping
from dataclasses import replace as dataclass_replace
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector import rows as stored
from meterhouse_collector.alerts.conditions import supply
from meterhouse_collector.alerts.conditions import things as conditions
from meterhouse_collector.alerts.known import (
    LiveKnown,
    LoadKnown,
    Own,
    Readings,
    Silence,
    Source,
    Supply,
    Things,
)
from meterhouse_collector.alerts.plant import PlantWatch, cluster_watts
from meterhouse_collector.alerts.power import PowerWatch
from meterhouse_collector.alerts.state import Rule, State, step
from meterhouse_collector.alerts.table import DEFAULTS, calm_readings
from meterhouse_collector.alerts.things import DETAIL_SECONDS, Seen, ThingWatch, waiting_seconds
from meterhouse_collector.kpi.headroom import headroom
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import MeterRow, NodeRow, Share
from tests.collector.alerting import CHAT, SITE, known, one, sums, threshold, verdict
from tests.collector.collecting import INVENTORY, LENGTH, index, report

START = 1_700_000_100 // 900 * 900
NOTHING: tuple[float | None, ...] = (None,) * 5
PLANT = """
[[meter]]
name = "battery-out"
role = "storage"
[[meter]]
name = "battery-in"
role = "storage"
sign = -1
[[meter]]
name = "genset-out"
role = "generator"
[[meter]]
name = "ups-in"
role = "ups_in"
[[meter]]
name = "ups-out"
role = "ups_out"
[[storage]]
name = "battery"
rated_watts = 100000.0
capacity_kwh = 100.0
meters = ["battery-out", "battery-in"]
[[generator]]
name = "genset"
rated_watts = 100000.0
meters = ["genset-out"]
[[cooling]]
name = "chillers"
kind = "chiller"
units = 3
spare_units = 1
unit_heat_watts = 500.0
clusters = ["c1"]
[[power]]
name = "feed"
kind = "switchboard"
unit_watts = 100000.0
meters = ["utility"]
"""


def meter(watts: float, *, quality: wire.Quality = "ok") -> MeterRow:
    return MeterRow(LENGTH * 1000, LENGTH * 1000, energy_joules=watts * LENGTH, quality=quality)


def node(unhealthy: int = 0) -> NodeRow:
    whole = 2 * LENGTH * 1000
    down = unhealthy * LENGTH * 1000
    share = Share("h100", "none", (whole - down, 0, 0, down, 0), NOTHING, "counter", "ok")  # type: ignore[arg-type] # five of them
    return NodeRow(LENGTH * 1000, (share,))


def interval(
    number: int, nodes: Mapping[str, NodeRow], meters: Mapping[str, MeterRow] | None = None
) -> IntervalRows:
    return IntervalRows(START + number * LENGTH, LENGTH, nodes, meters or {}, {})


def test_silence_is_counted_from_the_last_word_of_a_registered_node() -> None:
    watch = ThingWatch(index())
    watch.add(interval(0, {"node-1": node()}))
    for number in range(1, 4):
        watch.add(interval(number, {}))
    assert set(watch.seen().nodes) == {
        Silence("node-1", 15.0),
        Silence("node-2", 20.0, at_least=True),
    }
    watch.add(interval(4, {"node-1": node(), "node-2": node(), "stranger": node()}))
    assert watch.seen().nodes == ()
    assert watch.seen(frozenset({"node-1", "stranger"})).nodes == (Silence("node-1", 0.0),)


def test_a_restart_ends_no_silence_before_a_word_came() -> None:
    rule = Rule("always:node_silent", "node_silent", "ticket", 60.0)
    firing = State("firing", START - 1000.0, 500.0, 120.0)
    watch = DEFAULTS["node_silent"].threshold

    def after(silence: Silence) -> str:
        seen = known({}, things=Things(nodes=(silence,), open=frozenset({"node-1"})))
        state, _ = step(firing, one(conditions.node_silent(watch, seen)), rule, START)
        return "ok" if state is None else state.phase

    assert after(Silence("node-1", 5.0, at_least=True)) == "firing"
    assert after(Silence("node-1", 500.0, at_least=True)) == "firing"
    assert after(Silence("node-1", 5.0)) == "ok"


def test_of_many_nodes_only_those_are_looked_at_that_are_silent_or_were() -> None:
    nodes = (Silence("well", 5.0), Silence("was", 0.0), Silence("is", 70.0))
    things = Things(nodes=nodes, open=frozenset({"was"}))
    watch = DEFAULTS["node_silent"].threshold
    found = conditions.node_silent(watch, known({}, things=things))
    assert [dict(each.labels)["node"] for each in found] == ["was", "is"]


def test_a_meter_is_stale_without_a_good_reading() -> None:
    watch = ThingWatch(index())
    watch.add(interval(0, {}, {"utility": meter(1.0)}))
    watch.add(interval(1, {}, {"utility": meter(1.0, quality="stale")}))
    empty = MeterRow(LENGTH * 1000, 0)
    watch.add(interval(2, {}, {"utility": empty}))
    assert watch.seen().meters == (Silence("utility", 10.0),)


def test_a_slow_meter_is_not_watched_by_intervals() -> None:
    slow = '[[meter]]\nname = "slow"\nrole = "it"\ncategory = 2\nstep = "15m"\n'
    watch = ThingWatch(index(slow))
    watch.add(interval(0, {}, {}))
    assert [each.name for each in watch.seen().meters] == ["utility"]


def test_lost_devices_of_a_silent_node_are_not_known() -> None:
    watch = ThingWatch(index())
    watch.add(interval(0, {"node-1": node(unhealthy=1)}))
    assert dict(watch.seen().lost) == {"node-1": 1.0, "node-2": None}
    threshold = DEFAULTS["accelerator_lost"].threshold
    seen = known({}, things=Things(lost=watch.seen().lost))
    found = conditions.accelerator_lost(threshold, seen)
    assert [(dict(o.labels)["node"], verdict(o)) for o in found] == [
        ("node-1", "fires"),
        ("node-2", "unknown"),
    ]


def test_a_node_that_somebody_says_is_down_is_neither_silent_nor_lost() -> None:
    said = """
[[downtime]]
nodes = ["node-1", "node-2"]
reason = "planned"
begins = BEGINS
ends = ENDS
said_by = "operations"
"""
    begins, ends = (datetime.fromtimestamp(START + LENGTH * n, UTC).isoformat() for n in (1, 3))
    watch = ThingWatch(index(said.replace("BEGINS", begins).replace("ENDS", ends)))
    watch.add(interval(0, {"node-1": node(unhealthy=1)}))
    assert dict(watch.seen().lost) == {"node-1": 1.0, "node-2": None}
    was_open = frozenset({"node-1", "node-2"})
    for number in (1, 2):
        watch.add(interval(number, {"node-1": node(unhealthy=1)}))
        assert watch.seen() == Seen((), watch.seen().meters, (), ())
        # An alert that stands ends: what is down is known.
        assert set(watch.seen(was_open).nodes) == {Silence("node-1", 0.0), Silence("node-2", 0.0)}
        assert dict(watch.seen(was_open).lost) == {"node-1": 0.0, "node-2": 0.0}
    watch.add(interval(3, {"node-1": node(unhealthy=1)}))
    assert dict(watch.seen().lost) == {"node-1": 1.0, "node-2": None}
    assert watch.seen().nodes == (Silence("node-2", 5.0),)


def detailed(start: int, **columns: list[float | None]) -> Entry:
    accelerators = wire.Accelerators(state_milliseconds={"active": [5000, 5000]})
    for name, column in columns.items():
        setattr(accelerators, name, column)
    made = report("node-1", start, accelerators=accelerators)
    return entry_of(made, installed("site-a", "node-1", INVENTORY), index(), detail=True)


def test_the_worst_device_of_a_node_counts_and_only_while_it_is_recent() -> None:
    watch = ThingWatch(index())
    watch.add_detail(
        detailed(
            START,
            temperature_celsius=[70.0, 91.0],
            throttled_milliseconds=[4000.0, None],
            ecc_uncorrected_errors=[0.0, 3.0],
        )
    )
    watch.add_detail(detailed(START - 60, temperature_celsius=[20.0, 20.0]))
    watch.add(interval(0, {"node-1": node()}))
    assert watch.seen().readings == (Readings("node-1", 91.0, 0.8, 3.0),)
    watch.add(interval(round(DETAIL_SECONDS) // LENGTH + 1, {"node-1": node()}))
    assert watch.seen().readings == ()
    assert watch.seen(frozenset({"node-1"})).readings == (Readings("node-1"),)


def test_of_many_nodes_only_those_show_something_whose_readings_a_rule_minds() -> None:
    model = index('[[threshold]]\nname = "warm"\nkind = "accelerator_hot"\nabove = 60.0\n')
    calm = calm_readings(model.model.threshold)
    assert calm == Readings("", 60.0, 0.25, 0.0)
    watch = ThingWatch(model, calm)
    watch.add_detail(detailed(START, temperature_celsius=[60.0, 40.0]))
    watch.add(interval(0, {"node-1": node()}))
    assert watch.seen().readings == ()
    assert watch.seen(frozenset({"node-1"})).readings == (Readings("node-1", 60.0),)
    watch.add_detail(detailed(START + 60, temperature_celsius=[61.0, 40.0]))
    assert watch.seen().readings == (Readings("node-1", 61.0),)
    below = '[[threshold]]\nname = "cold"\nkind = "accelerator_hot"\nbelow = 5.0\n'
    assert calm_readings(index(below).model.threshold) == Readings("", None, 0.25, 0.0)


def test_a_restart_ends_no_alert_of_a_device_before_a_reading_came() -> None:
    watch = ThingWatch(index())
    watch.add(interval(0, {"node-1": node()}))
    seen = watch.seen(frozenset({"node-1", "stranger"}))
    assert seen.readings == (Readings("node-1"),)
    things = Things(readings=seen.readings, open=frozenset({"node-1"}))
    for kind in ("accelerator_hot", "accelerator_throttled", "accelerator_errors"):
        rule = getattr(conditions, kind)
        found = one(rule(DEFAULTS[kind].threshold, known({}, things=things)))
        assert (found.value, verdict(found)) == (None, "unknown")


def test_detail_of_a_node_without_register_is_forgotten() -> None:
    watch = ThingWatch(index())
    entry = replace(detailed(START, temperature_celsius=[70.0, 91.0]), node="stranger")
    watch.add_detail(entry)
    watch.add(interval(0, {}))
    assert watch.seen().readings == ()


def test_rows_beside_the_detail_are_left_alone() -> None:
    watch = ThingWatch(index())
    other = stored.Table("detail", "host", stored.Series([()], ("x",)), b"[[1.0]]", START)
    watch.add_detail(Entry("site-a", "node-1", START, None, {}, {}, [other]))
    watch.add(interval(0, {}))
    assert watch.seen().readings == ()


@pytest.mark.parametrize(
    ("meters", "gives"),
    [
        ({"battery-out": 5000.0, "battery-in": 0.0}, 5000.0),
        ({"battery-out": 0.0, "battery-in": 5000.0}, 0.0),
        # What a meter shows at rest.
        ({"battery-out": 900.0, "battery-in": 0.0}, 0.0),
        ({"battery-out": 5000.0}, None),
    ],
)
def test_a_battery_gives_what_its_meters_say(meters: dict[str, float], gives: float | None) -> None:
    watch = PlantWatch(index(PLANT))
    rows = interval(0, {}, {name: meter(watts) for name, watts in meters.items()})
    watch.add(rows, {})
    assert Source("storage", "battery", gives, 360e6) in watch.sources()


def test_a_battery_that_discharges_says_how_long_a_full_one_lasts() -> None:
    source = Source("storage", "battery", 5000.0, 100 * 3.6e6)
    (found,) = supply.on_battery(threshold("on_battery", above=0.0), plant(source))
    # 100 kWh at 5 kW are 20 hours.
    assert found.evidence == {"full_lasts_seconds": 72_000.0}
    at_rest = plant(source._replace(watts=0.0), source._replace(watts=None))
    found, silent = supply.on_battery(threshold("on_battery", above=0.0), at_rest)
    assert (found.evidence, silent.evidence) == ({}, {})


def test_what_is_not_known_of_the_power_path_has_no_value() -> None:
    unknown = LoadKnown("ups", 1e6, None, 1.0)
    seen = dataclass_replace(
        known({}, loads=[unknown]),
        things=Things(
            cooling=(unknown,),
            sources=(Source("storage", "battery", None), Source("generator", "genset", None)),
            supplies=(Supply("pdu", None, 1000.0), Supply("pdu-2", 0.0, None)),
        ),
    )
    looked = [
        *supply.load(DEFAULTS["load"].threshold, seen),
        *supply.cooling(DEFAULTS["cooling"].threshold, seen),
        *supply.on_battery(DEFAULTS["on_battery"].threshold, seen),
        *supply.generator_running(DEFAULTS["generator_running"].threshold, seen),
        *supply.supply_lost(DEFAULTS["supply_lost"].threshold, seen),
    ]
    assert [(o.value, verdict(o)) for o in looked] == [(None, "unknown")] * 6


def plant(*sources: Source) -> LiveKnown:
    return dataclass_replace(known({}), things=Things(sources=sources))


@pytest.mark.parametrize(
    ("taken", "given", "gives"), [(1000.0, 950.0, 0.0), (0.0, 950.0, 950.0), (10.0, 950.0, 950.0)]
)
def test_a_ups_that_takes_nothing_is_on_battery(taken: float, given: float, gives: float) -> None:
    watch = PlantWatch(index(PLANT))
    rows = interval(0, {}, {"ups-in": meter(taken), "ups-out": meter(given)})
    watch.add(rows, {})
    assert Source("ups", "ups", gives) in watch.sources()


def test_a_generator_that_is_not_read_is_not_known() -> None:
    watch = PlantWatch(index(PLANT))
    watch.add(interval(0, {}), {})
    assert Source("generator", "genset", None) in watch.sources()
    watch.add(interval(1, {}, {"genset-out": meter(50_000.0)}), {})
    assert Source("generator", "genset", 50_000.0) in watch.sources()


def test_cooling_must_remove_what_its_clusters_draw() -> None:
    watch = PlantWatch(index(PLANT))
    groups = {
        CHAT: sums(installed_seconds=10.0, active_drawn_joules=4000.0, free_drawn_joules=500.0),
        SITE: sums(interval_seconds=5.0),
    }
    watch.add(interval(0, {}), groups)
    assert watch.cooling() == (LoadKnown("chillers", 1000.0, 900.0, 1.0),)
    dark = {CHAT: sums(installed_seconds=10.0, unknown_seconds=1.0, active_drawn_joules=4000.0)}
    assert cluster_watts(dark, ("c1",), LENGTH) is None
    assert cluster_watts({}, (), LENGTH) is None


def test_cooling_of_one_kind_for_the_same_clusters_shares_their_heat() -> None:
    second = PLANT.replace('"chillers"', '"more-chillers"').partition("[[cooling]]")[2]
    second = "[[cooling]]" + second.partition("[[power]]")[0].replace("= 500.0", "= 1500.0")
    tower = second.replace("more-chillers", "tower").replace('"chiller"', '"tower"')
    watch = PlantWatch(index(PLANT + second + tower))
    groups = {CHAT: sums(installed_seconds=10.0, active_drawn_joules=8000.0)}
    watch.add(interval(0, {}), groups)
    # 1,600 W: a quarter and three quarters of it for the chillers, and the tower takes it all.
    assert watch.cooling() == (
        LoadKnown("chillers", 1000.0, 400.0, 0.25),
        LoadKnown("more-chillers", 3000.0, 1200.0, 0.75),
        LoadKnown("tower", 3000.0, 1600.0, 1.0),
    )
    chillers = known({}, things=Things(cooling=watch.cooling()[:2]))
    assert headroom(limits=chillers.limits).it_watts == pytest.approx(4000.0 - 1600.0)


def test_a_supply_that_carries_nothing_any_more_is_told_apart_from_one_that_never_did() -> None:
    watch = PowerWatch(index(PLANT))
    for number, watts in enumerate((1000.0, 1000.0, 0.0)):
        watch.add(interval(number, {}, {"utility": meter(watts)}), None)
    [supply] = watch.supplies(START)
    assert (supply.name, supply.watts, supply.most_watts) == ("feed", 0.0, 1000.0)
    for number in range(3, 3 + 1000 // LENGTH):
        watch.add(interval(number, {}, {"utility": meter(0.0)}), None)
    [supply] = watch.supplies(START)
    assert (supply.watts, supply.most_watts) == (0.0, 0.0)


def test_a_spool_that_has_drained_is_calm_again() -> None:
    watch = DEFAULTS["spool_filling"].threshold
    waiting = waiting_seconds({"node-1": 1000, "node-2": 0}, LENGTH)
    assert waiting == {"node-1": 5000.0, "node-2": 0.0}
    seen = known({}, things=Things(own=Own(waiting_seconds=waiting)))
    assert [verdict(o) for o in conditions.spool_filling(watch, seen)] == ["fires"]
    after = Things(nodes=(Silence("node-1", 0.0),), open=frozenset({"node-1"}))
    drained = dataclass_replace(after, own=Own(waiting_seconds={"node-1": 0.0}))
    found = one(conditions.spool_filling(watch, known({}, things=drained)))
    assert (found.value, verdict(found)) == (0.0, "clears")
    # After a restart it may be heard only of what was read back, or not at all.
    found = one(conditions.spool_filling(watch, known({}, things=after)))
    assert (found.value, verdict(found)) == (None, "unknown")
