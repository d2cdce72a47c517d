"""The power path and cooling: how full they are, what feeds them, and whether they are fed."""

from meterhouse_collector.alerts.known import (
    LiveKnown,
    LoadKnown,
    Source,
    observed,
    scope_labels,
    scope_sums,
)
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.kpi.capacity_ratios import delivered_ratio
from meterhouse_collector.kpi.value import COVERAGE_FLOOR
from meterhouse_collector.settlement.outages import due_now
from meterhouse_collector.site.targets import Threshold

_NO_LOAD = "its load is not known"


def load(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the load of each piece of the power path / what it may carry against a threshold."""
    return [_loaded(threshold, known, "power", each) for each in known.loads]


def cooling(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the heat of each cooling plant / what it can remove against a threshold."""
    return [_loaded(threshold, known, "cooling", each) for each in known.things.cooling]


def _loaded(threshold: Threshold, known: LiveKnown, what: str, each: LoadKnown) -> Observation:
    about = scope_labels(known.model.name, threshold.scope, **{what: each.name})
    if each.load_watts is None or each.limit_watts <= 0:
        return observed(threshold, about, None, "ratio", reason=_NO_LOAD)
    return observed(
        threshold,
        about,
        each.load_watts / each.limit_watts,
        "ratio",
        load_watts=each.load_watts,
        limit_watts=each.limit_watts,
    )


def on_battery(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold what batteries give, and a UPS that takes nothing, against a threshold."""
    return _given(threshold, known, ("storage", "ups"))


def generator_running(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold what generators give against a threshold."""
    return _given(threshold, known, ("generator",))


def _given(threshold: Threshold, known: LiveKnown, kinds: tuple[str, ...]) -> list[Observation]:
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, **{source.kind: source.name}),
            source.watts,
            "watts",
            reason=_NO_LOAD if source.watts is None else None,
            **_lasts(source),
        )
        for source in known.things.sources
        if source.kind in kinds
    ]


def _lasts(source: Source) -> dict[str, float]:
    """Return how long a full battery gives so much: nothing tells how full it is."""
    if source.full_joules is None or not source.watts:
        return {}
    return {"full_lasts_seconds": source.full_joules / source.watts}


def supply_lost(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold how far the power of each measured piece of the power path has dropped against one.

    Once nothing at all was carried for the whole time, nobody knows what was: it stays as it was.
    """
    found = []
    for each in known.things.supplies:
        value = None
        if each.watts is not None and each.most_watts is not None and each.most_watts > 0:
            value = max(0.0, 1 - each.watts / each.most_watts)
        about = scope_labels(known.model.name, threshold.scope, power=each.name)
        reason = _NO_LOAD if value is None else None
        found.append(observed(threshold, about, value, "ratio", reason=reason))
    return found


def under_delivered(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the delivered part of what was sold against a threshold; unknown units give bounds.

    Agreed outages that a contract excludes leave what is due; while they leave nothing, there is no
    value.
    """
    if scope_sums(known.groups, threshold.scope)["sold_contracted_seconds"] <= 0:
        return []
    window = known.at_seconds - known.window.seconds, known.at_seconds
    due = {
        group: {**sums, **due_now(known.model, group.tenant, sums, window)}
        for group, sums in known.groups.items()
        if sums["sold_contracted_seconds"] > 0
    }
    sums = scope_sums(due, threshold.scope)
    kpi = delivered_ratio(sums, side="sold", floor=COVERAGE_FLOOR)
    about = scope_labels(known.model.name, threshold.scope)
    return [
        observed(
            threshold,
            about,
            kpi.value,
            "ratio",
            reason=kpi.reason,
            low=kpi.low,
            high=kpi.high,
            coverage=kpi.coverage,
        )
    ]
