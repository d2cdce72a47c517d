"""The alerts on /metrics: what each is about, its value, its limit, and whether it fires."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.engine import Looked
from meterhouse_collector.alerts.state import Key, Observation, Rule
from meterhouse_collector.alerts.words import subject_of

LABELS: Final = ("alert", "rule", "severity", "site", "subject")
FIRING: Final = "meterhouse_alert_firing"
VALUE: Final = "meterhouse_alert_value"
LIMIT: Final = "meterhouse_alert_limit"
# Beside what is open; a site with many nodes has many that are well.
CALM_MAX: Final = 50


class _Shown(NamedTuple):
    labels: tuple[str, ...]
    firing: bool
    value: float | None
    limit: float | None


class AlertMetrics(Collector):
    """What the rules saw last; an open alert keeps its last value while nothing is known."""

    def __init__(self, looked: Mapping[str, Looked], open_alerts: Mapping[Key, Open]) -> None:
        self._looked = looked
        self._open = open_alerts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the three gauges."""
        firing = GaugeMetricFamily(FIRING, "1 while the alert fires.", labels=LABELS)
        value = GaugeMetricFamily(VALUE, "What is held against the limit.", labels=LABELS)
        limit = GaugeMetricFamily(LIMIT, "The limit of the alert.", labels=LABELS)
        for shown in self._shown():
            firing.add_metric(shown.labels, float(shown.firing))
            if shown.value is not None:
                value.add_metric(shown.labels, shown.value)
            if shown.limit is not None:
                limit.add_metric(shown.labels, shown.limit)
        yield from (firing, value, limit)

    def _shown(self) -> Iterator[_Shown]:
        for key, (rule, state, _) in self._open.items():
            labels = _labels(rule, dict(key.labels))
            yield _Shown(labels, state.phase == "firing", state.value, state.limit)
        for rule, observations in self._looked.values():
            yield from self._calm(rule, observations)

    def _calm(self, rule: Rule, observations: tuple[Observation, ...]) -> Iterator[_Shown]:
        calm = (o for o in observations if Key(rule.name, o.labels) not in self._open)
        for observation, _ in zip(calm, range(CALM_MAX), strict=False):
            labels = _labels(rule, dict(observation.labels))
            yield _Shown(labels, firing=False, value=observation.value, limit=observation.limit)


def _labels(rule: Rule, about: Mapping[str, str]) -> tuple[str, ...]:
    return rule.kind, rule.name, rule.severity, about.get("site", ""), subject_of(about)
