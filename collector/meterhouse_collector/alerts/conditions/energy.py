"""Energy and power: PUE, the demand of the running interval, and headroom."""

from typing import Final

from meterhouse_collector.alerts.known import (
    DemandKnown,
    LiveKnown,
    is_whole,
    observed,
    scope_labels,
    scope_sums,
)
from meterhouse_collector.alerts.state import Observation, labels
from meterhouse_collector.kpi.headroom import headroom
from meterhouse_collector.kpi.pue import pue
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.site.targets import Scope, Threshold

# A demand heading over the contract ends where it is so far below it.
DEMAND_CLEARS_RATIO: Final = 0.98
_NOT_WHOLE: Final = "only a whole site has it"


def pue_beyond(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the PUE of the last window against a threshold."""
    about = scope_labels(known.model.name, threshold.scope)
    if not is_whole(threshold.scope):
        return [observed(threshold, about, None, "ratio", reason=_NOT_WHOLE)]
    kpi = pue_of(known)
    return [
        observed(threshold, about, kpi.value, "ratio", reason=kpi.reason, coverage=kpi.coverage)
    ]


def pue_below_one(known: LiveKnown) -> list[Observation]:
    """Say that the PUE is below 1: a meter of the boundary is missing, or one is wrong.

    It is none while a battery may discharge unmetered (``definitions.md``, PUE).
    """
    if not known.basis.boundary_metered:
        return []
    kpi = pue_of(known)
    unmetered = known.basis.battery_unmetered
    return [
        Observation(
            labels=labels(site=known.model.name),
            value=None if unmetered else kpi.value,
            limit=1.0,
            side="below",
            reason="a battery may discharge unmetered" if unmetered else kpi.reason,
            evidence={"facility_joules": kpi.numerator, "it_joules": kpi.denominator},
        )
    ]


def pue_of(known: LiveKnown) -> KpiValue:
    """Return the PUE of the last window."""
    return pue(
        scope_sums(known.groups, Scope()),
        window_seconds=known.window.seconds,
        basis=known.basis,
    )


def demand_beyond(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the projected mean of each connection's demand interval against a threshold."""
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, connection=demand.connection),
            demand.projected_watts,
            "watts",
            reason=demand.reason,
            **_evidence(demand),
        )
        for demand in known.demand
    ]


def demand_over_contract(known: LiveKnown) -> list[Observation]:
    """Hold the same against what each grid connection is contracted for."""
    return [
        Observation(
            labels=labels(site=known.model.name, connection=demand.connection),
            value=demand.projected_watts,
            limit=demand.contracted_watts,
            clear=demand.contracted_watts * DEMAND_CLEARS_RATIO,
            unit="watts",
            reason=demand.reason,
            evidence=_evidence(demand),
        )
        for demand in known.demand
    ]


def _evidence(demand: DemandKnown) -> dict[str, float]:
    return {
        "contracted_watts": demand.contracted_watts,
        "known_seconds": demand.known_seconds,
        "elapsed_seconds": demand.elapsed_seconds,
    }


def headroom_below(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the IT power that still fits against a threshold.

    Where a load is not known there is only an upper bound: below the limit it fires all the same.
    """
    about = scope_labels(known.model.name, threshold.scope)
    if not is_whole(threshold.scope):
        return [observed(threshold, about, None, "watts", reason=_NOT_WHOLE)]
    found = headroom(limits=known.limits)
    low = found.it_watts if found.it_watts is not None else float("-inf")
    reason = found.reason if found.binding is None else f"{found.binding} binds"
    evidence = {
        f"{limit.name}_load_watts": limit.load_watts
        for limit in known.limits
        if limit.load_watts is not None
    }
    value = found.high_it_watts
    bounds = (None, None) if value is None else (low, value)
    return [
        observed(
            threshold,
            about,
            value,
            "watts",
            reason=reason,
            low=bounds[0],
            high=bounds[1],
            **evidence,
        )
    ]
