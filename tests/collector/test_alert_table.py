"""Each kind of threshold has what belongs to it: function, sample, runbook, scenario."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest

from meterhouse_collector.alerts.conditions.budget import budget_rules
from meterhouse_collector.alerts.held import Held
from meterhouse_collector.alerts.known import DemandKnown, LiveKnown, LoadKnown, QuarterKnown, Use
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.alerts.table import ALWAYS, LIVE, QUARTERLY
from meterhouse_collector.site.contracts import Commitment
from meterhouse_collector.site.load import sample
from meterhouse_collector.site.targets import Budget, Scope, Threshold, ThresholdKind
from tests.collector.alerting import CHAT, SITE, devices, known, sums, threshold, verdict
from tests.collector.collecting import index
from tests.collector.test_alert_dates import TODAY, coming, tariff
from tests.collector.test_alert_energy import METERED, site_energy

RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "runbooks" / "alerts.md"
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


def test_the_runbook_has_a_section_for_each_kind_of_rule() -> None:
    named = Budget.model_validate({"name": "b", "amount": 1, "valid_from": TODAY})
    kinds = {*KINDS, *(rule.kind for rule in budget_rules(named))}
    kinds |= {always.rule.kind for always in ALWAYS}
    sections = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    told = {kind: s for s in sections for kind in re.findall(r"`(\w+)`", s.partition("\n")[0])}
    assert told.keys() == kinds
    for section in told.values():
        assert len(re.findall(r"^\d\. ", section, re.MULTILINE)) == 3
