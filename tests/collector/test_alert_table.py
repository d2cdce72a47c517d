"""Each kind of threshold has what belongs to it: function, sample, runbook, scenario."""

from decimal import Decimal
from typing import Final, NamedTuple, get_args

import pytest

from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.conditions.budget import budget_rules
from meterhouse_collector.alerts.held import Held
from meterhouse_collector.alerts.known import (
    DemandKnown,
    Fault,
    LiveKnown,
    LoadKnown,
    Lost,
    Own,
    QuarterKnown,
    Readings,
    SensorKnown,
    Silence,
    Source,
    Supply,
    Things,
    Use,
)
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.alerts.table import ALWAYS, DEFAULTS, LIVE, QUARTERLY, watches
from meterhouse_collector.site.contracts import Commitment
from meterhouse_collector.site.load import sample
from meterhouse_collector.site.sensors import Sensor
from meterhouse_collector.site.targets import Budget, Scope, Threshold, ThresholdKind
from tests.collector.alerting import CHAT, SITE, devices, known, sums, threshold, verdict
from tests.collector.collecting import index
from tests.collector.test_alert_dates import TODAY, coming, tariff
from tests.collector.test_alert_energy import METERED, site_energy

KINDS: Final[tuple[ThresholdKind, ...]] = get_args(ThresholdKind)


class Scenario(NamedTuple):
    """A threshold, what makes it fire, and what does not."""

    watch: Threshold
    fires: LiveKnown | QuarterKnown
    calm: LiveKnown | QuarterKnown


def dated(more: str) -> QuarterKnown:
    model = index(more).model
    return QuarterKnown(at_seconds=model.instant(TODAY), model=model)


def serving(money: float) -> LiveKnown:
    held = sums(
        engine_installed_seconds=1.0,
        engine_covered_seconds=1.0,
        serving_money=money,
        serving_output_tokens=1e6,
    )
    return known({CHAT: held})


def demanded(watts: float) -> LiveKnown:
    return known({}, demand=[DemandKnown("feed", 1e6, watts, 600.0, 600.0)])


def loaded(watts: float) -> LiveKnown:
    return known({}, loads=[LoadKnown("ups", 1e6, watts, 1.0)])


def held(count: int) -> LiveKnown:
    priced = devices(active=8, held_idle=2) | {"held_idle_capital_money": 1.0}
    return known({CHAT: priced}, held={CHAT: Held(count, count)})


def used(hours: int) -> QuarterKnown:
    site = index()
    entry = Commitment.model_validate(
        {
            "name": "hours",
            "contract": "cloud",
            "category": "usage",
            "device_hours": 100,
            "valid_from": TODAY,
        }
    )
    use = Use(entry, Decimal(100), Decimal(hours), Decimal(0), 1.0, 0.0, 0.0)
    return QuarterKnown(at_seconds=0.0, model=site.model, uses=(use,))


def of(**things: object) -> LiveKnown:
    return known({}, of=METERED, things=Things(**things))  # type: ignore[arg-type] # by name


def delivered(ratio: float) -> LiveKnown:
    return known({SITE: sums(sold_contracted_seconds=100.0, sold_delivered_seconds=100 * ratio)})


def silent(kind: str, seconds: float) -> LiveKnown:
    return of(open=frozenset({"one"}), **{kind: (Silence("one", seconds),)})


def showing(**most: float) -> LiveKnown:
    return of(readings=(Readings("node-1", **most),), open=frozenset({"node-1"}))


def faulty(times: float) -> LiveKnown:
    return of(faults=(Fault("node-1", "gpu-0", 79, times),))


def heat(watts: float) -> LiveKnown:
    return of(cooling=(LoadKnown("chillers", 1e6, watts, 1.0),))


def given(kind: str, watts: float) -> LiveKnown:
    return of(sources=(Source(kind, "one", watts),))


def carried(watts: float) -> LiveKnown:
    return of(supplies=(Supply("pdu", watts, 1000.0),))


def lost(devices: float) -> LiveKnown:
    return of(lost=(Lost("node-1", devices),), open=frozenset({"node-1"}))


def told(kind: str, celsius: float | None = None, alarmed: float | None = None) -> LiveKnown:
    sensor = {"name": "one", "kind": kind} | ({"class": "A1"} if kind == "inlet" else {})
    return of(sensors=(SensorKnown(Sensor.model_validate(sensor), celsius, alarmed),))


def own(**fares: object) -> LiveKnown:
    return of(own=Own(**fares))  # type: ignore[arg-type] # by name


def default(kind: ThresholdKind) -> Threshold:
    return DEFAULTS[kind].threshold


SCENARIOS: Final[dict[ThresholdKind, Scenario]] = {
    "pue": Scenario(
        threshold("pue", above=1.5),
        known({SITE: site_energy(160, 100)}, of=METERED),
        known({SITE: site_energy(140, 100)}, of=METERED),
    ),
    "idle": Scenario(
        threshold("idle", above=0.5),
        known({CHAT: devices(active=4, free=6)}),
        known({CHAT: devices(active=6, free=4)}),
    ),
    "reclaimable_idle": Scenario(threshold("reclaimable_idle", above=0.1), held(2), held(1)),
    "idle_cost": Scenario(threshold("idle_cost", above=1.5), held(2), held(0)),
    "coverage": Scenario(
        threshold("coverage", below=0.95, scope=Scope(pool="chat")),
        known({CHAT: devices(active=9, unknown=1)}),
        known({CHAT: devices(active=100, unknown=1)}),
    ),
    "demand": Scenario(threshold("demand", above=9e5), demanded(9.1e5), demanded(8.9e5)),
    "headroom": Scenario(threshold("headroom", below=1e5), loaded(9.1e5), loaded(8.9e5)),
    "commitment": Scenario(threshold("commitment", below=0.9), used(89), used(90)),
    "ending": Scenario(
        threshold("ending", below=30.0),
        dated(tariff("2026-01-01", TODAY.replace(day=20))),
        dated(tariff("2026-01-01", TODAY.replace(month=12))),
    ),
    "delivery": Scenario(
        threshold("delivery", above=14.0),
        dated(coming(("2026-01-01", "2026-06-02"), ("2026-05-01", "2026-07-02"))),
        dated(coming(("2026-01-01", "2026-06-02"))),
    ),
    "cost_per_million_tokens": Scenario(
        threshold("cost_per_million_tokens", above=2.0), serving(3.0), serving(1.0)
    ),
    "pue_without_value": Scenario(
        default("pue_without_value"),
        of(pue=Silence("pue", 901.0)),
        of(pue=Silence("pue", 5.0)),
    ),
    "under_delivered": Scenario(default("under_delivered"), delivered(0.98), delivered(0.995)),
    "load": Scenario(default("load"), loaded(1.01e6), loaded(0.9e6)),
    "cooling": Scenario(default("cooling"), heat(1.01e6), heat(0.9e6)),
    "on_battery": Scenario(
        default("on_battery"), given("storage", 5000.0), given("storage", -5000.0)
    ),
    "generator_running": Scenario(
        default("generator_running"), given("generator", 5000.0), given("generator", 0.0)
    ),
    "supply_lost": Scenario(default("supply_lost"), carried(0.0), carried(900.0)),
    "temperature_out_of_class": Scenario(
        default("temperature_out_of_class"), told("inlet", 32.1), told("inlet", 30.9)
    ),
    "leak": Scenario(default("leak"), told("leak", alarmed=0.01), told("leak", alarmed=0.0)),
    "breaker_open": Scenario(
        default("breaker_open"), told("breaker", alarmed=1.0), told("breaker", alarmed=0.0)
    ),
    "accelerator_lost": Scenario(default("accelerator_lost"), lost(1.0), lost(0.0)),
    "accelerator_errors": Scenario(
        default("accelerator_errors"),
        showing(uncorrected_errors=1.0),
        showing(uncorrected_errors=0.0),
    ),
    "accelerator_xid": Scenario(default("accelerator_xid"), faulty(1.0), faulty(0.0)),
    "accelerator_throttled": Scenario(
        default("accelerator_throttled"),
        showing(throttled_ratio=0.6),
        showing(throttled_ratio=0.1),
    ),
    "accelerator_hot": Scenario(
        default("accelerator_hot"), showing(hottest_celsius=90.0), showing(hottest_celsius=70.0)
    ),
    "node_silent": Scenario(default("node_silent"), silent("nodes", 121.0), silent("nodes", 0.0)),
    "meter_stale": Scenario(default("meter_stale"), silent("meters", 901.0), silent("meters", 0.0)),
    "spool_filling": Scenario(
        default("spool_filling"),
        own(waiting_seconds={"node-1": 3601.0}),
        own(waiting_seconds={"node-1": 10.0}),
    ),
    "store_down": Scenario(default("store_down"), own(store_up=False), own(store_up=True)),
    "collector_behind": Scenario(
        default("collector_behind"), own(quarters_behind=5.0), own(quarters_behind=0.0)
    ),
}


def look(watch: Threshold, what: LiveKnown | QuarterKnown) -> list[Observation]:
    if isinstance(what, LiveKnown):
        return LIVE[watch.kind](watch, what)
    return QUARTERLY[watch.kind](watch, what)


def test_each_kind_has_one_function() -> None:
    assert sorted([*LIVE, *QUARTERLY]) == sorted(KINDS)


def test_each_kind_has_a_scenario() -> None:
    assert SCENARIOS.keys() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_fires_and_does_not(kind: ThresholdKind) -> None:
    scenario = SCENARIOS[kind]
    assert "fires" in {verdict(o) for o in look(scenario.watch, scenario.fires)}
    assert "clears" in {verdict(o) for o in look(scenario.watch, scenario.calm)}
    assert "fires" not in {verdict(o) for o in look(scenario.watch, scenario.calm)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_sample_tells_of_each_kind(kind: str) -> None:
    assert f'"{kind}"' in sample()


def test_each_rule_has_a_row_of_the_catalogue() -> None:
    named = Budget.model_validate({"name": "b", "amount": 1, "valid_from": TODAY})
    kinds = {*KINDS, *(rule.kind for rule in budget_rules(named))}
    kinds |= {always.rule.kind for always in ALWAYS}
    assert {row.name for row in CATALOGUE.values() if row.own} == kinds


def test_a_threshold_takes_the_place_of_the_default_of_its_kind() -> None:
    hot = threshold("accelerator_hot", above=70.0)
    watched = watches([hot])
    of_kind = [w.threshold for w in watched if w.threshold.kind == "accelerator_hot"]
    assert of_kind == [hot]
    assert len(watched) == len(DEFAULTS)
    assert len(watches([])) == len(DEFAULTS)
