"""The facility's sensors: temperatures out of what is allowed, leaks, and open breakers."""

from collections.abc import Iterator
from math import inf
from typing import Final

from meterhouse_collector.alerts.known import LiveKnown, SensorKnown, observed, within
from meterhouse_collector.alerts.state import Labels, Observation, labels
from meterhouse_collector.site.sensors import TEMPERATURE_KINDS, SensorKind
from meterhouse_collector.site.targets import Threshold

_SILENT: Final = "no recent reading of it"
# What must be left between the bounds for a temperature that is well: half of their distance.
_MARGIN_RATIO: Final = 0.25


def temperature_out_of_class(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold each temperature against what its sensor allows, and a threshold's degrees beyond it."""
    return [
        _temperature(threshold, known, each) for each in _of(threshold, known, *TEMPERATURE_KINDS)
    ]


def leak(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the share of time in which each leak detector meant alarm against a threshold."""
    return _contacts(threshold, known, "leak")


def breaker_open(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the share of time in which each breaker was open against a threshold."""
    return _contacts(threshold, known, "breaker")


def _of(threshold: Threshold, known: LiveKnown, *kinds: SensorKind) -> Iterator[SensorKnown]:
    for each in known.things.sensors:
        cluster = each.sensor.cluster or ""
        if each.sensor.kind in kinds and within(
            threshold.scope, cluster=cluster, pool="", tenant=""
        ):
            yield each


def _about(known: LiveKnown, each: SensorKnown) -> Labels:
    return labels(site=known.model.name, cluster=each.sensor.cluster, sensor=each.sensor.name)


def _contacts(threshold: Threshold, known: LiveKnown, kind: SensorKind) -> list[Observation]:
    return [
        observed(
            threshold,
            _about(known, each),
            each.alarmed_ratio,
            "ratio",
            reason=_SILENT if each.alarmed_ratio is None else None,
        )
        for each in _of(threshold, known, kind)
    ]


def _temperature(threshold: Threshold, known: LiveKnown, each: SensorKnown) -> Observation:
    """Return a temperature held against the bound that it is nearest to, or farthest beyond.

    The threshold counts from that bound, so that one is enough for sensors of all classes.
    """
    low = -inf if each.sensor.allowed.low_celsius is None else each.sensor.allowed.low_celsius
    high = inf if each.sensor.allowed.high_celsius is None else each.sensor.allowed.high_celsius
    beyond = threshold.above or 0.0
    back = beyond if threshold.clear is None else threshold.clear
    # Where the bounds are close there is still a temperature that ends it.
    back = max(back, _MARGIN_RATIO * (low - high))
    celsius = each.celsius
    is_low = celsius is not None and low - celsius > celsius - high
    return Observation(
        labels=_about(known, each),
        value=celsius,
        limit=low - beyond if is_low else high + beyond,
        side="below" if is_low else "above",
        clear=low - back if is_low else high + back,
        unit="celsius",
        reason=_SILENT if celsius is None else None,
    )
