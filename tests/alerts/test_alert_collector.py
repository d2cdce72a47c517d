"""A whole collector tells a real Alertmanager and a webhook of its alerts, over restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from meterhouse_collector.app import Collector
from meterhouse_collector.check import check
from meterhouse_collector.config import ConfigError, load_config, validate
from tests.alerts.hooks import Hook
from tests.collector.collecting import SITE
from tests.collector.hearing import until
from tests.servers import Alertmanager

LATE = """
[[pipeline]]
name = "racks"
kind = "power"
promised = [{ said = 2020-01-01, due = 2020-02-01 }]
"""


@asynccontextmanager
async def running(folder: Path, site: str, alerts: dict[str, object]) -> AsyncIterator[Collector]:
    (folder / "site.toml").write_text(site)
    table = {
        "site": str(folder / "site.toml"),
        "sqlite": {"path": str(folder / "rows.sqlite")},
        "socket": {"path": str(folder / "c.sock")},
        "alerts": alerts,
    }
    collector = Collector(validate(table, "collector.toml"))
    task = asyncio.create_task(collector.run(), name="collector")
    try:
        yield collector
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def told(collector: Collector, receiver: str, state: str, count: int) -> Callable[[], bool]:
    name = "meterhouse_collector_notifications_total"
    labels = {"receiver": receiver, "state": state}
    return lambda: collector.telemetry.registry.get_sample_value(name, labels) == count


def waits_for_nothing(collector: Collector, receiver: str) -> bool:
    name = "meterhouse_collector_notifications_waiting"
    value = collector.telemetry.registry.get_sample_value(name, {"receiver": receiver})
    return value == 0


async def test_what_fires_is_told_over_stops_and_starts(tmp_path: Path) -> None:
    hook = Hook()
    with Alertmanager(tmp_path / "am") as server:
        async with hook.served() as url:
            alerts: dict[str, object] = {
                "webhook": {"url": url},
                "alertmanager": {"url": server.url},
            }
            async with running(tmp_path, SITE + LATE, alerts) as first:
                await until(told(first, "webhook", "firing", 2))
                await until(told(first, "alertmanager", "firing", 2))
            found = [alert["labels"] for alert in server.alerts()]
            assert sorted(label["check"] for label in found) == ["overdue", "slippage"]
            assert {label["alertname"] for label in found} == {"delivery"}

            async with running(tmp_path, SITE + LATE, alerts) as second:
                await until(lambda: len(second.alerts.book.open) >= 2)
                await until(lambda: all(waits_for_nothing(second, each) for each in alerts))
            assert len(server.alerts()) == 2
            assert hook.told == [("delivery", "firing")] * 2

            async with running(tmp_path, SITE, alerts) as third:
                await until(told(third, "webhook", "resolved", 2))
                await until(told(third, "alertmanager", "resolved", 2))
            assert hook.told[2:] == [("delivery", "resolved")] * 2
            assert server.alerts() == []


async def test_check_says_who_takes_alerts_and_tells_nobody_of_any(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    hook = Hook()
    with Alertmanager(tmp_path / "am") as server:
        async with hook.served() as url:
            table = {
                "site": str(tmp_path / "site.toml"),
                "sqlite": {"path": str(tmp_path / "rows.sqlite")},
                "socket": {"path": str(tmp_path / "c.sock")},
                "alerts": {"webhook": {"url": url}, "alertmanager": {"url": server.url}},
            }
            lines, well = await check(validate(table, "collector.toml"))
            assert lines[-2] == f"alerts  ok        alertmanager at {server.url} takes them"
            assert lines[-1] == f"alerts  ok        webhook at {url} takes them"
            assert well
            assert server.alerts() == []
            assert hook.told == []
            hook.status = 403
            lines, well = await check(validate(table, "collector.toml"))
    assert lines[-1] == f"alerts  failed    webhook: {url}: 403 Forbidden: come again"
    assert not well


def test_a_secret_that_is_missing_is_a_fault_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "collector.toml").write_text(
        'site = "site.toml"\n[socket]\npath = "c.sock"\n[alerts.webhook]\n'
        f'url = "https://hooks.example"\ntoken = {{ file = "{tmp_path}/none" }}\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "collector.toml")
    [fault] = caught.value.faults
    assert "alerts.webhook.token: secret file" in fault


def test_an_address_that_is_none_is_a_fault_that_does_not_show_it() -> None:
    table = {
        "site": "site.toml",
        "socket": {"path": "c.sock"},
        "alerts": {"webhook": {"url": "https://me:hidden@hooks.example"}},
    }
    with pytest.raises(ConfigError) as caught:
        validate(table, "collector.toml")
    [fault] = caught.value.faults
    assert fault.startswith("collector.toml: alerts.webhook.url: must hold no user")
    assert "hidden" not in fault
