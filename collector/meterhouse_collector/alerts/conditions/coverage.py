"""What is covered, and what tokens cost."""

from typing import Final

from meterhouse_collector.alerts.known import (
    LiveKnown,
    is_whole,
    observed,
    scope_labels,
    scope_sums,
)
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.kpi import cost, idle
from meterhouse_collector.kpi.pue import pue
from meterhouse_collector.kpi.value import share
from meterhouse_collector.site.targets import Threshold

_LACKS: Final = {"devices": "device is available", "tokens": "engine holds a device"}


def coverage_lost(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the coverage of devices, of energy and of tokens against a threshold, each where it is.

    Energy is that of the whole site.
    """
    sums = scope_sums(known.groups, threshold.scope)
    found: dict[str, float | None] = {}
    available = sums["installed_seconds"] - sums["unhealthy_seconds"]
    found["devices"] = idle.idle_capacity_ratio(sums).coverage if available > 0 else None
    if is_whole(threshold.scope) and known.basis.boundary_metered:
        energy = pue(sums, window_seconds=known.window.seconds, basis=known.basis)
        found["energy"] = energy.coverage
    if known.model.engine:
        held = sums["engine_installed_seconds"]
        found["tokens"] = share(sums["engine_covered_seconds"], held) if held > 0 else None
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, of=name),
            value,
            "ratio",
            reason=None if value is not None else f"no {_LACKS[name]} here",
        )
        for name, value in found.items()
    ]


def cost_per_million_tokens(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the cost per million output tokens of the last window against a threshold."""
    kpi = cost.cost_per_million_output_tokens(
        scope_sums(known.groups, threshold.scope),
        currency=known.model.currency,
        boundary_metered=known.basis.boundary_metered,
    )
    about = scope_labels(known.model.name, threshold.scope)
    return [
        observed(
            threshold,
            about,
            kpi.value,
            kpi.unit,
            reason=kpi.reason,
            coverage=kpi.coverage,
            output_tokens=kpi.denominator,
        )
    ]
