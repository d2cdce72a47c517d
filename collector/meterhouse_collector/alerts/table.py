"""Which function looks at which kind of threshold, and how often."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from meterhouse_collector.alerts.conditions import commitment, coverage, dates, energy, idle
from meterhouse_collector.alerts.known import LiveKnown, QuarterKnown
from meterhouse_collector.alerts.state import Observation, Rule
from meterhouse_collector.site.targets import Threshold, ThresholdKind

# In every interval, for what is known live.
LIVE: Final[Mapping[ThresholdKind, Callable[[Threshold, LiveKnown], list[Observation]]]] = {
    "pue": energy.pue_beyond,
    "idle": idle.idle_ratio,
    "reclaimable_idle": idle.reclaimable_ratio,
    "idle_cost": idle.reclaimable_cost,
    "coverage": coverage.coverage_lost,
    "demand": energy.demand_beyond,
    "headroom": energy.headroom_below,
    "cost_per_million_tokens": coverage.cost_per_million_tokens,
}
# In every quarter hour, for what changes by days or needs what was summed.
QUARTERLY: Final[Mapping[ThresholdKind, Callable[[Threshold, QuarterKnown], list[Observation]]]] = {
    "commitment": commitment.commitment_under_use,
    "ending": dates.ending,
    "delivery": dates.delivery,
}


class Always(NamedTuple):
    """A rule that needs no threshold, and its function; no name of a site file has a colon."""

    rule: Rule
    look: Callable[[LiveKnown], list[Observation]]


ALWAYS: Final = (
    Always(Rule("always:pue_below_one", "pue", "ticket", 300.0), energy.pue_below_one),
    Always(
        Rule("always:demand_over_contract", "demand", "page", 60.0), energy.demand_over_contract
    ),
)


def rule_of(threshold: Threshold) -> Rule:
    """Return the rule of a threshold."""
    return Rule(threshold.name, threshold.kind, threshold.severity, threshold.for_)
