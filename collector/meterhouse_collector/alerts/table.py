"""Which function looks at which kind of threshold, and what is watched without any."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, cast, get_args

from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow
from meterhouse_collector.alerts.conditions import (
    commitment,
    coverage,
    dates,
    energy,
    idle,
    sensors,
    supply,
    things,
)
from meterhouse_collector.alerts.known import LiveKnown, QuarterKnown, Readings, calm_level
from meterhouse_collector.alerts.state import Observation, Rule
from meterhouse_collector.site.targets import Threshold, ThresholdKind

# In every interval, for what is known live.
LIVE: Final[Mapping[ThresholdKind, Callable[[Threshold, LiveKnown], list[Observation]]]] = {
    "pue": energy.pue_beyond,
    "pue_without_value": things.pue_without_value,
    "idle": idle.idle_ratio,
    "reclaimable_idle": idle.reclaimable_ratio,
    "idle_cost": idle.reclaimable_cost,
    "under_delivered": supply.under_delivered,
    "coverage": coverage.coverage_lost,
    "demand": energy.demand_beyond,
    "headroom": energy.headroom_below,
    "load": supply.load,
    "cooling": supply.cooling,
    "on_battery": supply.on_battery,
    "generator_running": supply.generator_running,
    "supply_lost": supply.supply_lost,
    "temperature_out_of_class": sensors.temperature_out_of_class,
    "leak": sensors.leak,
    "breaker_open": sensors.breaker_open,
    "cost_per_million_tokens": coverage.cost_per_million_tokens,
    "accelerator_lost": things.accelerator_lost,
    "accelerator_errors": things.accelerator_errors,
    "accelerator_xid": things.accelerator_xid,
    "accelerator_throttled": things.accelerator_throttled,
    "accelerator_hot": things.accelerator_hot,
    "node_silent": things.node_silent,
    "meter_stale": things.meter_stale,
    "spool_filling": things.spool_filling,
    "store_down": things.store_down,
    "collector_behind": things.collector_behind,
}
# In every quarter hour, for what changes by days or needs what was summed.
QUARTERLY: Final[Mapping[ThresholdKind, Callable[[Threshold, QuarterKnown], list[Observation]]]] = {
    "commitment": commitment.commitment_under_use,
    "ending": dates.ending,
    "delivery": dates.delivery,
}


# Of what single devices show, and where it is told.
_SHOWN: Final[Mapping[str, ThresholdKind]] = {
    "hottest_celsius": "accelerator_hot",
    "throttled_ratio": "accelerator_throttled",
    "uncorrected_errors": "accelerator_errors",
}


class Always(NamedTuple):
    """A rule that no threshold can change, and its function; no name of a site file has a colon."""

    rule: Rule
    look: Callable[[LiveKnown], list[Observation]]


def _always(name: str, look: Callable[[LiveKnown], list[Observation]]) -> Always:
    row = CATALOGUE[name]
    return Always(Rule(f"always:{name}", name, row.severity, row.for_seconds), look)


ALWAYS: Final = (
    _always("pue_below_one", energy.pue_below_one),
    _always("demand_over_contract", energy.demand_over_contract),
)


class Watch(NamedTuple):
    """A threshold and the rule that it makes."""

    rule: Rule
    threshold: Threshold


def rule_of(threshold: Threshold) -> Rule:
    """Return the rule of a threshold."""
    return Rule(threshold.name, threshold.kind, threshold.severity, threshold.for_)


def default_threshold(row: AlertRow) -> Threshold:
    """Return the threshold that a row of the catalogue stands for; it must have a limit."""
    return Threshold.model_validate(
        {
            "name": "default",
            "kind": row.name,
            row.side: row.limit,
            "clear": row.clear,
            "for": f"{max(1.0, row.for_seconds):g}s",
            "severity": row.severity,
        }
    )


DEFAULTS: Final[Mapping[ThresholdKind, Watch]] = {
    cast("ThresholdKind", row.name): Watch(
        Rule(f"always:{row.name}", row.name, row.severity, row.for_seconds),
        default_threshold(row),
    )
    for row in CATALOGUE.values()
    if row.limit is not None and row.name in get_args(ThresholdKind)
}


def watches(thresholds: Collection[Threshold]) -> list[Watch]:
    """Return what is watched: the thresholds, and the defaults of all other kinds."""
    kinds = {threshold.kind for threshold in thresholds}
    return [
        *(Watch(rule_of(threshold), threshold) for threshold in thresholds),
        *(watch for kind, watch in DEFAULTS.items() if kind not in kinds),
    ]


def calm_readings(thresholds: Collection[Threshold]) -> Readings:
    """Return up to which readings of devices nothing fires and all that fired ends."""
    levels: dict[str, float | None] = {}
    for name, kind in _SHOWN.items():
        mine = [each for each in thresholds if each.kind == kind]
        known = [calm_level(each) for each in (*mine, DEFAULTS[kind].threshold)]
        levels[name] = min([x for x in known if x is not None]) if None not in known else None
    return Readings("", **levels)
