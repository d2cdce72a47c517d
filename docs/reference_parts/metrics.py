"""The metrics of both programs, with the values of their labels."""

import ast
from collections.abc import Iterator
from typing import Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from docs.reference_parts.markdown import table
from docs.reference_parts.syntax import calls, subscripts
from meterhouse_agent.counters import Verdict
from meterhouse_agent.telemetry import Metrics
from meterhouse_collector.alerts.metrics import LABELS, AlertMetrics
from meterhouse_collector.kpi import catalogue
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.live import Snapshot
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.metrics import KpiMetrics

# The last label of each metric, and its values.
LABEL_VALUES: Final = {
    "meterhouse_agent_dropped_total": {
        "receipt_malformed": "a receipt that does not decode",
        "refused_full": "the oldest refused reports, when their table reached its bound",
        "spool_damaged": "a spool that could not be read; it was set aside and a new one begun",
        "spool_full": "the oldest reports, when the spool reached `max_bytes`",
        "spool_unwritable": "the oldest reports beyond 16 MiB, while the spool cannot be written",
    },
    "meterhouse_agent_events_total": {
        "clock_behind": "the clock went back before the end of the last reported interval",
        "clock_step": "the clock was stepped by half a second or more",
        "span_dropped": "a span beyond the number that one report carries",
        "xid_dropped": "a fault code beyond the number that one report carries of a device",
        "counter_rollover": "a counter passed its modulus; counted on",
        "counter_restart": "a counter began again from zero; counted from zero",
        "counter_jitter": "a counter fell by a little; the reading is held suspect",
        "counter_jump": "a counter grew by more than is possible; held suspect",
        "counter_swap": "a suspect reading stayed; what was counted between is not known",
    },
    "meterhouse_collector_dropped_total": {
        "intake_full": "a report that came while 64 MiB waited for the store; sent again",
        "paused": "a report that came while none is looked at, because the store is behind",
        "rows_full": "a row that no receipt hangs on, beyond 100,000 that wait for the store",
    },
}


def section() -> Iterator[str]:
    """Return the sections of the metrics."""
    for metric, values in counted().items():
        if values != LABEL_VALUES[metric].keys():
            raise SystemExit(
                f"{metric}: {sorted(values ^ LABEL_VALUES[metric].keys())} has no text"
            )
    for title, holder in (
        ("agent", Metrics(CollectorRegistry())),
        ("collector", Telemetry(CollectorRegistry())),
    ):
        yield f"## Metrics of the {title}\n"
        if title == "agent":
            yield "On `/metrics` where the config has a `[metrics]` table.\n"
        else:
            yield "On `/metrics` beside the page.\n"
        labels = {
            one._name: one._labelnames  # noqa: SLF001 - the library offers no other way
            for one in vars(holder).values()
            if isinstance(one, MetricWrapperBase)
        }
        families = list(holder.registry.collect())
        yield table(
            ("metric", "type", "labels", "meaning"),
            (
                (
                    f"`{_name(family)}`",
                    family.type,
                    ", ".join(f"`{label}`" for label in labels.get(family.name, ())),
                    family.documentation,
                )
                for family in families
            ),
        )
        for family in families:
            texts = LABEL_VALUES.get(_name(family), {})
            if texts:
                label = labels[family.name][-1]
                yield f"Values of `{label}` in `{_name(family)}`:\n"
                yield table((label, "meaning"), ((f"`{v}`", text) for v, text in texts.items()))
    yield from _kpi_metrics()


def _kpi_metrics() -> Iterator[str]:
    yield "The KPIs, over the window of the config; what has no value is absent:\n"
    answers = cast("Answers", _Known())
    yield table(
        ("metric", "type", "labels", "meaning"),
        (
            (
                f"`{family.name}`",
                family.type,
                ", ".join(f"`{label}`" for label in family.samples[0].labels),
                family.documentation,
            )
            for family in KpiMetrics(answers).collect()
        ),
    )
    yield "The alerts, those that are open and some that are not:\n"
    yield table(
        ("metric", "type", "labels", "meaning"),
        (
            (
                f"`{family.name}`",
                family.type,
                ", ".join(f"`{label}`" for label in LABELS),
                family.documentation,
            )
            for family in AlertMetrics({}, {}).collect()
        ),
    )


class _Known:
    """Answers of a site where everything is known, so that every KPI has a value."""

    site = "site"

    @staticmethod
    def snapshot() -> Snapshot:
        sums = dict.fromkeys(catalogue.ROLLUP_FIELD_NAMES, 1.0)
        sums |= {"installed_seconds": 5.0, "stranded_seconds": 0.0, "pue_unexpected_seconds": 0.0}
        basis = EnergyBasis(
            boundary_metered=True, it_metered=True, category=2, slowest_step_seconds=0.0
        )
        window = Window(seconds=1.0, basis=basis, currency="currency")
        group = GroupKey("site", "cluster", "pool", "tenant", served_model="served model")
        return Snapshot(0, 1, kpis(sums, window=window, floor=0.0), sums, {group: sums})


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def counted() -> dict[str, set[str]]:
    """Return the values that the code gives to the last label of the metrics above."""
    dropped: set[str] = set()
    lost: set[str] = set()
    events = {f"counter_{verdict}" for verdict in Verdict}
    for call, name in calls("agent"):
        if name in {"dropped", "event"} and call.args and isinstance(call.args[0], ast.Constant):
            (dropped if name == "dropped" else events).add(str(call.args[0].value))
    for holder, key in subscripts("agent"):
        (dropped if holder == "dropped" else events).add(key)
    for call, name in calls("collector"):
        if name == "labels" and ast.unparse(call.func).endswith("dropped.labels"):
            lost.add(str(ast.literal_eval(call.args[0])))
    return {
        "meterhouse_agent_dropped_total": dropped,
        "meterhouse_agent_events_total": events - {f"counter_{Verdict.GROWTH}"},
        "meterhouse_collector_dropped_total": lost,
    }
