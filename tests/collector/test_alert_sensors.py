"""What is followed of sensors, and what fires: known truth in, equality out."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.alerts.conditions import sensors as conditions
from meterhouse_collector.alerts.conditions.things import meter_stale
from meterhouse_collector.alerts.known import LiveKnown, SensorKnown, Silence, Things
from meterhouse_collector.alerts.sensors import FRESH_SECONDS, SensorWatch
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.alerts.table import DEFAULTS
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.site.sensors import Sensor
from meterhouse_collector.site.targets import Scope
from tests.collector.alerting import known, one, threshold, verdict
from tests.collector.collecting import INVENTORY, LENGTH, MemoryStore, index, report
from tests.collector.test_alert_builtin import firing
from tests.collector.test_alert_engine import START, Site

TABLES = """
[[sensor]]
name = "leak"
kind = "leak"
[[sensor]]
name = "inlet"
kind = "inlet"
class = "A1"
cluster = "c1"
[[sensor]]
name = "q1"
kind = "breaker"
"""
OUT = DEFAULTS["temperature_out_of_class"].threshold


def warm(celsius: float | None, covered: int = 5000) -> wire.Sensor:
    return wire.Sensor(sensor="inlet", covered_milliseconds=covered, temperature_celsius=celsius)


def contact(name: str, milliseconds: int | None, covered: int = 5000) -> wire.Sensor:
    return wire.Sensor(sensor=name, covered_milliseconds=covered, contact_milliseconds=milliseconds)


def said(start: int, *sensors: wire.Sensor, node: str = "node-1") -> Entry:
    return Entry("site-a", node, start, None, {}, {}, [], {s.sensor: s for s in sensors})


def watch() -> SensorWatch:
    made = SensorWatch(index(TABLES))
    made.go_on(START - LENGTH, LENGTH)
    return made


def now(made: SensorWatch) -> Mapping[str, tuple[float | None, float | None]]:
    return {each.sensor.name: (each.celsius, each.alarmed_ratio) for each in made.known()}


def test_the_newest_reading_counts_whatever_the_order_in_which_they_come() -> None:
    made = watch()
    assert now(made) == {"leak": (None, None), "inlet": (None, None), "q1": (None, None)}
    made.add(said(START + 5, warm(25.0), contact("leak", 1000, covered=4000)))
    made.add(said(START, warm(24.0), contact("q1", 0)))
    assert now(made) == {"leak": (None, 0.25), "inlet": (25.0, None), "q1": (None, 0.0)}


def test_of_two_that_read_one_sensor_the_one_counts_that_covered_more() -> None:
    for order in (1, -1):
        made = watch()
        for entry in [
            said(START, warm(25.0, covered=4000)),
            said(START, warm(35.0, covered=1000), node="node-2"),
        ][::order]:
            made.add(entry)
        assert now(made)["inlet"] == (25.0, None)


def test_what_says_nothing_and_what_is_not_in_the_site_model_is_left_out() -> None:
    made = watch()
    made.add(said(START, warm(None), contact("leak", 0, covered=0), contact("stranger", 5000)))
    assert set(now(made).values()) == {(None, None)}
    assert len(made.known()) == 3


def test_an_old_reading_says_nothing_of_now() -> None:
    made = watch()
    made.add(said(START, warm(40.0)))
    made.go_on(START + FRESH_SECONDS - LENGTH, LENGTH)
    assert now(made)["inlet"] == (40.0, None)
    made.go_on(START + FRESH_SECONDS, LENGTH)
    assert now(made)["inlet"] == (None, None)
    made.go_on(START + 60, 60)
    assert now(made)["inlet"] == (40.0, None)


def test_silence_is_counted_from_the_last_word_or_from_when_it_is_watched() -> None:
    made = watch()
    made.add(said(START, warm(20.0)))
    made.go_on(START + 60, LENGTH)
    silences = {each.name: each for each in made.silences()}
    assert silences["inlet"] == Silence("inlet", 60.0)
    assert silences["leak"] == Silence("leak", 70.0, at_least=True)


def test_a_sensor_that_was_taken_out_is_forgotten() -> None:
    ends = '[[sensor]]\nname = "gone"\nkind = "leak"\nvalid_to = 2001-01-01\n'
    made = SensorWatch(index(ends))
    made.go_on(0, LENGTH)
    made.add(said(0, contact("gone", 5000)))
    assert now(made)["gone"] == (None, 1.0)
    made.go_on(START, LENGTH)
    assert (now(made), made.silences()) == ({}, ())


def seen(celsius: float | None, **table: object) -> LiveKnown:
    sensor = Sensor.model_validate({"name": "one", "kind": "inlet", "class": "A1", **table})
    return known({}, things=Things(sensors=(SensorKnown(sensor, celsius),)))


def looked(celsius: float | None, **table: object) -> Observation:
    return one(conditions.temperature_out_of_class(OUT, seen(celsius, **table)))


@pytest.mark.parametrize(
    ("celsius", "does"),
    [
        (14.9, "fires"),
        (15.0, "keeps"),
        (15.9, "keeps"),
        (16.0, "clears"),
        (23.0, "clears"),
        (31.0, "clears"),
        (31.1, "keeps"),
        (32.0, "keeps"),
        (32.1, "fires"),
        (None, "unknown"),
    ],
)
def test_inlet_air_fires_on_both_sides_of_its_class_and_ends_a_degree_inside(
    celsius: float | None, does: str
) -> None:
    assert verdict(looked(celsius)) == does


def test_an_observation_says_the_temperature_and_the_bound_that_it_passed() -> None:
    cold, hot = looked(14.0), looked(33.0)
    assert (cold.value, cold.limit, cold.side) == (14.0, 15.0, "below")
    assert (hot.value, hot.limit, hot.side) == (33.0, 32.0, "above")
    assert dict(looked(20.0, cluster="c1").labels) == {
        "site": "site-a",
        "cluster": "c1",
        "sensor": "one",
    }


def test_coolant_without_a_lower_bound_is_never_too_cold() -> None:
    water = {"kind": "coolant", "class": "W32"}
    found = {t: verdict(looked(t, **water)) for t in (-20.0, 31.0, 31.5, 32.1)}
    assert found == {-20.0: "clears", 31.0: "clears", 31.5: "keeps", 32.1: "fires"}
    cold = {"kind": "coolant", "class": "W+", "low_celsius": 18.0}
    found = {t: verdict(looked(t, **cold)) for t in (17.9, 18.5, 19.0, 90.0)}
    assert found == {17.9: "fires", 18.5: "keeps", 19.0: "clears", 90.0: "clears"}


def test_bounds_that_are_close_leave_a_temperature_that_ends_it() -> None:
    close = {"low_celsius": 20.0, "high_celsius": 20.5}
    found = {t: verdict(looked(t, **close)) for t in (19.9, 20.1, 20.25, 20.4, 20.6)}
    assert found == {
        19.9: "fires",
        20.1: "keeps",
        20.25: "clears",
        20.4: "keeps",
        20.6: "fires",
    }


def test_a_threshold_counts_from_the_bound_for_all_classes() -> None:
    two = threshold("temperature_out_of_class", above=2.0)
    for celsius, does in ((13.1, "clears"), (12.9, "fires"), (34.0, "clears"), (34.1, "fires")):
        assert verdict(one(conditions.temperature_out_of_class(two, seen(celsius)))) == does


def test_a_threshold_of_a_cluster_looks_at_its_sensors_alone() -> None:
    here = threshold("temperature_out_of_class", above=0.0, scope=Scope(cluster="c1"))
    assert conditions.temperature_out_of_class(here, seen(40.0)) == []
    assert conditions.temperature_out_of_class(here, seen(40.0, cluster="c2")) == []
    [found] = conditions.temperature_out_of_class(here, seen(40.0, cluster="c1"))
    assert verdict(found) == "fires"


@pytest.mark.parametrize(("kind", "alert"), [("leak", "leak"), ("breaker", "breaker_open")])
def test_a_contact_fires_for_any_part_of_the_time_and_only_its_own_alert(
    kind: str, alert: str
) -> None:
    sensor = Sensor.model_validate({"name": "one", "kind": kind})
    functions = {"leak": conditions.leak, "breaker_open": conditions.breaker_open}
    for ratio, does in ((0.001, "fires"), (1.0, "fires"), (0.0, "clears"), (None, "unknown")):
        told = known({}, things=Things(sensors=(SensorKnown(sensor, None, ratio),)))
        for name, function in functions.items():
            found = function(DEFAULTS[name].threshold, told)  # type: ignore[index] # of both
            assert [verdict(each) for each in found] == ([does] if name == alert else [])
        assert conditions.temperature_out_of_class(OUT, told) == []


def test_a_silent_sensor_is_stale_as_a_meter_is() -> None:
    silences = (Silence("leak", 901.0), Silence("q1", 10.0))
    found = meter_stale(
        DEFAULTS["meter_stale"].threshold, known({}, things=Things(silent_sensors=silences))
    )
    assert dict(one(found).labels) == {"site": "site-a", "sensor": "leak"}
    assert verdict(found[0]) == "fires"


def tell(site: Site, *sensors: wire.Sensor) -> None:
    start = int(site.now) // LENGTH * LENGTH - LENGTH
    made = report("node-1", start, accelerators=None, sensors=list(sensors))
    has = installed("site-a", "node-1", INVENTORY)
    site.alerts.add(entry_of(made, has, site.site, detail=False))


async def test_a_leak_pages_at_once_and_ends_when_it_is_dry() -> None:
    site = Site(MemoryStore(), START, index(TABLES))
    await site.begin()
    await site.run(60, "active")
    tell(site, contact("leak", 0), contact("q1", 0))
    await site.run(LENGTH, "active")
    assert not {"leak", "breaker_open"} & {kind for kind, _ in firing(site)}
    tell(site, contact("leak", 200), contact("q1", 5000))
    await site.run(LENGTH, "active")
    assert {("leak", "leak"), ("breaker_open", "q1")} <= firing(site)
    # Nobody says that it is dry.
    await site.run(180, "active")
    assert {("leak", "leak"), ("breaker_open", "q1")} <= firing(site)
    tell(site, contact("leak", 0))
    await site.run(LENGTH, "active")
    assert ("leak", "leak") not in firing(site)
    assert ("breaker_open", "q1") in firing(site)


async def test_inlet_air_out_of_class_fires_after_five_minutes() -> None:
    site = Site(MemoryStore(), START, index(TABLES))
    await site.begin()
    await site.run(60, "active")
    for _ in range(290 // LENGTH):
        tell(site, warm(33.0))
        await site.run(LENGTH, "active")
    assert "temperature_out_of_class" not in {kind for kind, _ in firing(site)}
    for _ in range(30 // LENGTH):
        tell(site, warm(33.0))
        await site.run(LENGTH, "active")
    assert "temperature_out_of_class" in {kind for kind, _ in firing(site)}
    tell(site, replace(warm(31.5)))
    await site.run(LENGTH, "active")
    assert "temperature_out_of_class" in {kind for kind, _ in firing(site)}
    tell(site, warm(24.0))
    await site.run(LENGTH, "active")
    assert "temperature_out_of_class" not in {kind for kind, _ in firing(site)}
