"""Single nodes, meters and devices, and the collector itself."""

from collections.abc import Callable, Iterable
from math import inf
from operator import attrgetter
from typing import Final

from meterhouse_collector.alerts.known import (
    LiveKnown,
    Readings,
    Silence,
    calm_level,
    observed,
    scope_labels,
)
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.site.targets import Threshold

# What has been silent for less than this part of the limit is calm.
_CALM_RATIO: Final = 0.5
_SILENT = "the node is silent"
_NO_DETAIL = "no recent reading of its devices"
_UNHEARD: Final = "no report of it since the start"


def node_silent(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the time since each registered node was last heard against a threshold."""
    return _silences(threshold, known, "node", known.things.nodes)


def meter_stale(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the time since each meter and sensor last had a good reading against a threshold."""
    return [
        *_silences(threshold, known, "meter", known.things.meters),
        *_silences(threshold, known, "sensor", known.things.silent_sensors),
    ]


def pue_without_value(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the time since the PUE last had a value against a threshold."""
    silence = known.things.pue
    if silence is None or not known.basis.boundary_metered:
        return []
    about = scope_labels(known.model.name, threshold.scope)
    high = inf if silence.at_least else silence.seconds
    seconds = silence.seconds
    return [observed(threshold, about, seconds, "seconds", low=seconds, high=high)]


def _silences(
    threshold: Threshold, known: LiveKnown, what: str, silences: Iterable[Silence]
) -> list[Observation]:
    # Of many things hardly one is silent.
    least = _CALM_RATIO * (threshold.above or 0.0)
    return [
        _silence(threshold, known, what, each)
        for each in silences
        if each.seconds > least or each.name in known.things.open
    ]


def _silence(threshold: Threshold, known: LiveKnown, what: str, each: Silence) -> Observation:
    """Return how long it is silent; one never heard is so at least since it is watched."""
    about = scope_labels(known.model.name, threshold.scope, **{what: each.name})
    high = inf if each.at_least else each.seconds
    return observed(threshold, about, each.seconds, "seconds", low=each.seconds, high=high)


def accelerator_lost(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the unhealthy devices of each node against a threshold."""
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, node=lost.node),
            lost.devices,
            "devices",
            reason=_SILENT if lost.devices is None else None,
        )
        for lost in known.things.lost
        if lost.devices != 0 or lost.node in known.things.open
    ]


def accelerator_hot(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the temperature of each node's hottest device against a threshold."""
    return _readings(threshold, known, "celsius", attrgetter("hottest_celsius"))


def accelerator_throttled(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the share of time in which each node's worst device ran throttled against one."""
    return _readings(threshold, known, "ratio", attrgetter("throttled_ratio"))


def accelerator_errors(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the uncorrected memory errors of each node's worst device against a threshold."""
    return _readings(threshold, known, "errors", attrgetter("uncorrected_errors"))


def accelerator_xid(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold how often each device told each fatal fault code lately against a threshold."""
    return [
        observed(
            threshold,
            scope_labels(
                known.model.name,
                threshold.scope,
                node=fault.node,
                device=fault.device,
                xid=str(fault.xid),
            ),
            fault.times,
            "errors",
        )
        for fault in known.things.faults
    ]


def _readings(
    threshold: Threshold,
    known: LiveKnown,
    unit: str,
    of: Callable[[Readings], float | None],
) -> list[Observation]:
    level = calm_level(threshold)
    least = -inf if level is None else level
    still_open = known.things.open
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, node=each.node),
            value,
            unit,
            reason=_NO_DETAIL if value is None else None,
        )
        for each in known.things.readings
        if ((value := of(each)) is not None and value > least) or each.node in still_open
    ]


def spool_filling(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the time whose reports wait in each spool against a threshold.

    What waits is not known of a node that nothing was heard of since the start.
    """
    waiting = known.things.own.waiting_seconds
    open_nodes = {each.name for each in known.things.nodes} & known.things.open
    filled = {name for name, seconds in waiting.items() if seconds > 0}
    return [
        observed(
            threshold,
            scope_labels(known.model.name, threshold.scope, node=name),
            waiting.get(name),
            "seconds",
            reason=None if name in waiting else _UNHEARD,
        )
        for name in sorted(filled | open_nodes)
    ]


def store_down(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold whether the store takes rows, 1 or 0, against a threshold."""
    about = scope_labels(known.model.name, threshold.scope)
    return [observed(threshold, about, float(known.things.own.store_up), "number")]


def collector_behind(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the quarter hours that have ended and are not summed against a threshold."""
    about = scope_labels(known.model.name, threshold.scope)
    return [observed(threshold, about, known.things.own.quarters_behind, "quarters")]
