"""The rules of Prometheus: each fires where it must, and asks for what the collector exposes."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deploy.prometheus.build import TARGET, rules
from meterhouse_collector.agents import Agent
from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow
from meterhouse_collector.alerts.metrics import CALM_MAX, AlertMetrics
from meterhouse_collector.kpi.compute import kpis
from meterhouse_collector.live import Snapshot
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.metrics import KpiMetrics
from tests.collector.alerting import CHAT, devices, known
from tests.collector.collecting import MemoryStore, index
from tests.collector.test_alert_engine import IDLE, START, Site
from tests.servers import binary

FOLLOWING: Final = [row for row in CATALOGUE.values() if row.promql is None]
ABOUT: Final = 'rule="r",severity="info",site="s",subject="node \\"a\\""'
Moments = tuple[tuple[int, list[dict[str, Any]]], ...]
# What is beside the limit, as far as that makes a figure of its unit.
VALUE, LIMIT = 1.5, 1.25
_SUMMARY: Final = {
    "ratio": ("150%", "125%"),
    "number": ("1.5", "1.25"),
    "watts": ("1.5W", "1.25W"),
    "celsius": ("2 °C", "1 °C"),
    "seconds": ("1.5s", "1.25s"),
    "days": ("2 days", "1 days"),
    "devices": ("2 devices", "1 devices"),
    "errors": ("2 errors", "1 errors"),
    "quarters": ("2 quarters", "1 quarters"),
    "money": ("1.50", "1.25"),
    "money per hour": ("1.50 per hour", "1.25 per hour"),
}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary("promtool"), *arguments], capture_output=True, check=False, text=True
    )


def test_the_rules_are_what_the_code_builds() -> None:
    written = TARGET.read_text(encoding="utf-8")
    assert written == rules(), "run: python -m deploy.prometheus.build"


def test_promtool_takes_the_rules() -> None:
    done = promtool("check", "rules", str(TARGET))
    assert done.returncode == 0, done.stderr
    assert f"{len(CATALOGUE)} rules found" in done.stdout


def test_promtool_takes_the_sample_of_a_config() -> None:
    done = promtool("check", "config", str(TARGET.with_name("prometheus.yml")))
    assert done.returncode == 0, done.stdout + done.stderr


def annotations(row: AlertRow, summary: str, site: str) -> dict[str, str]:
    return {
        "summary": summary,
        "compares": row.compares,
        "dashboard_url": f"/d/meterhouse-{row.board}{f'?var-site={site}' if site else ''}",
        "runbook_url": f"docs/runbooks/alerts/{row.name}.md",
    }


def expected(row: AlertRow, summary: str, **labels: str) -> dict[str, Any]:
    return {
        "exp_labels": labels,
        "exp_annotations": annotations(row, summary, labels.get("site", "")),
    }


def following(row: AlertRow) -> dict[str, Any]:
    """Return a scenario: calm, pending, firing for two minutes, and over."""
    of = f'{{alert="{row.name}",{ABOUT}}}'
    value, limit = _SUMMARY[row.unit]
    summary = row.summary.format(subject='node "a"', value=value, limit=limit)
    fires = expected(
        row, summary, alert=row.name, rule="r", severity="info", site="s", subject='node "a"'
    )
    moments: Moments = ((60, []), (180, [fires]), (240, [fires]), (360, []))
    return {
        "interval": "1m",
        "input_series": [
            {"series": f"meterhouse_alert_firing{of}", "values": "0 0 1 1 1 0 0"},
            {"series": f"meterhouse_alert_value{of}", "values": f"{VALUE}x6"},
            {"series": f"meterhouse_alert_limit{of}", "values": f"{LIMIT}x6"},
        ],
        "alert_rule_test": [
            {"eval_time": f"{at}s", "alertname": row.name, "exp_alerts": alerts}
            for at, alerts in moments
        ],
    }


def store_down() -> dict[str, Any]:
    row = CATALOGUE["store_down"]
    fires = expected(row, "The store takes no rows", severity="page", job="m")
    moments: Moments = ((1, []), (4, [fires]), (8, []))
    return {
        "interval": "1m",
        "input_series": [
            {"series": 'meterhouse_collector_store_up{job="m"}', "values": "1 1 0x3 1x5"}
        ],
        "alert_rule_test": [
            {"eval_time": f"{at}m", "alertname": row.name, "exp_alerts": alerts}
            for at, alerts in moments
        ],
    }


def silent() -> dict[str, Any]:
    """Return a collector that ends after ten minutes."""
    row = CATALOGUE["collector_silent"]
    text = "The collector has rolled nothing up for 10m 0s; the limit is 120 s"
    fires = expected(row, text, severity="page", site="s")
    return {
        "interval": "1m",
        "input_series": [
            {
                "series": 'meterhouse_window_end_seconds{site="s"}',
                "values": "0+60x10 stale _x20",
            }
        ],
        "alert_rule_test": [
            {"eval_time": f"{at}m", "alertname": row.name, "exp_alerts": alerts}
            for at, alerts in ((9, []), (11, []), (20, [fires]))
        ],
    }


SCENARIOS: Final = {
    **{row.name: [following(row)] for row in FOLLOWING},
    "store_down": [store_down()],
    "collector_silent": [silent()],
}


def test_every_rule_has_a_scenario() -> None:
    assert SCENARIOS.keys() == CATALOGUE.keys()


def test_every_rule_fires_where_it_must_and_nowhere_else(tmp_path: Path) -> None:
    tests = [scenario for scenarios in SCENARIOS.values() for scenario in scenarios]
    path = tmp_path / "tests.yml"
    # JSON is YAML.
    path.write_text(
        json.dumps(
            {"rule_files": [str(TARGET)], "evaluation_interval": "15s", "tests": tests},
            ensure_ascii=False,
        )
    )
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_wrong_fails_its_scenario(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(rules().replace("store_up < 1", "store_up < 0"))
    path = tmp_path / "tests.yml"
    content = {"rule_files": [str(wrong)], "evaluation_interval": "15s", "tests": [store_down()]}
    path.write_text(json.dumps(content))
    assert promtool("test", "rules", str(path)).returncode != 0


async def test_each_metric_of_a_rule_is_exposed() -> None:
    site = Site(MemoryStore(), START, index(IDLE))
    await site.begin()
    await site.run(120, "free")
    registry = site.telemetry.registry
    registry.register(AlertMetrics(site.alerts.looked, site.alerts.book.open))
    heard: dict[str, Agent] = {}
    answers = Answers(site.live, heard, site.site)
    registry.register(KpiMetrics(answers))
    families = list(registry.collect())
    exposed = {family.name for family in families}
    exposed |= {sample.name for family in families for sample in family.samples}
    named = set(re.findall(r"(?<![\w/-])meterhouse_\w+", rules())) - {
        "meterhouse_capacity",
        "meterhouse_energy",
        "meterhouse_money",
        "meterhouse_collector",
    }
    assert named
    assert named <= exposed


async def test_the_metrics_say_what_fires_and_keep_its_value() -> None:
    site = Site(MemoryStore(), START, index(IDLE))
    await site.begin()
    registry = CollectorRegistry()
    registry.register(AlertMetrics(site.alerts.looked, site.alerts.book.open))

    def shown(name: str) -> float | None:
        labels = {
            "alert": "idle",
            "rule": "idle",
            "severity": "ticket",
            "site": "site-a",
            "subject": "site site-a",
        }
        return registry.get_sample_value(f"meterhouse_alert_{name}", labels)

    await site.run(60, "active")
    assert (shown("firing"), shown("value"), shown("limit")) == (0.0, 0.0, 0.4)
    await site.run(120, "free")
    assert (shown("firing"), shown("value"), shown("limit")) == (1.0, 1.0, 0.4)
    # Without telemetry the ratio has no value, and the alert stands as it stood.
    await site.run(120, None)
    assert (shown("firing"), shown("value"), shown("limit")) == (1.0, 1.0, 0.4)


async def test_the_metrics_are_bounded_by_what_is_well() -> None:
    site = Site(MemoryStore(), START, index(IDLE))
    await site.begin()
    await site.run(60, "active")
    looked = site.alerts.looked["idle"]
    one = looked.observations[0]
    many = tuple(one._replace(labels=(("node", f"n{n}"),)) for n in range(500))
    all_looked = {"idle": looked._replace(observations=many)}
    found = list(AlertMetrics(all_looked, {}).collect())
    assert len(found[0].samples) == CALM_MAX


def test_pools_and_served_models_have_metrics_of_their_own() -> None:
    group = CHAT._replace(tenant="acme", served_model="llama")
    total = devices(active=6, free=2) | {
        "interval_seconds": 300.0,
        "engine_installed_seconds": 2400.0,
        "engine_covered_seconds": 2400.0,
        "serving_money": 4.0,
        "serving_output_tokens": 2e6,
    }
    window = known({}).window
    snapshot = Snapshot(0, 300, kpis(total, window=window), total, {group: total})

    class Known:
        site = "site-a"

        @staticmethod
        def snapshot() -> Snapshot:
            return snapshot

    registry = CollectorRegistry()
    registry.register(KpiMetrics(Known()))  # type: ignore[arg-type] # all that is asked of it
    pool = {"site": "site-a", "cluster": "c1", "pool": "chat", "tenant": "acme"}
    value = registry.get_sample_value
    assert value("meterhouse_pool_idle_capacity_ratio", pool) == 0.25
    assert value("meterhouse_pool_idle_capacity_ratio_coverage_ratio", pool) == 1.0
    assert value("meterhouse_pool_accelerators", {**pool, "state": "free"}) == 2.0
    model = {"site": "site-a", "served_model": "llama"}
    name = "meterhouse_served_model_cost_per_million_output_tokens"
    assert value(name, model) == 2.0
    assert value(f"{name}_coverage_ratio", model) == 1.0
    assert b"meterhouse_pool_accelerators" in generate_latest(registry)


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_a_rule_has_severity_time_and_links(row: AlertRow) -> None:
    text = rules()
    rule = text[text.index(f"- alert: {row.name}\n") :]
    rule = rule[: rule.index("runbook_url") + 200]
    if row.promql is not None:
        assert f"for: {row.for_seconds:.0f}s" in rule
        assert f"severity: {row.severity}" in rule
    assert f"/d/meterhouse-{row.board}" in rule
    assert f"alerts/{row.name}.md" in rule
