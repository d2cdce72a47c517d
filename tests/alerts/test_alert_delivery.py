"""Alerts told to a real Alertmanager and to a webhook: fired, repeated, resolved, never twice."""

import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key
from meterhouse_collector.notify.config import AlertsConfig
from meterhouse_collector.notify.due import BATCH
from meterhouse_collector.notify.notifier import Notifier, Way, ways_of
from meterhouse_collector.notify.post import NotTakenError, Post, posting
from meterhouse_collector.rows import Row
from meterhouse_collector.telemetry import Telemetry
from tests.alerts.hooks import AT, Hook, fires
from tests.collector.collecting import MemoryStore, index
from tests.collector.test_alert_engine import IDLE, START, Site
from tests.deploy.brokers import made_authority
from tests.servers import Alertmanager

BOARDS = "https://grafana.example"


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path_factory.mktemp("alertmanager")) as server:
        yield server


def config(**tables: object) -> AlertsConfig:
    return AlertsConfig.model_validate({"boards_url": BOARDS, **tables})


class Teller:
    """A notifier with a clock of its own, and what it wrote."""

    def __init__(
        self, of: AlertsConfig, open_alerts: Mapping[Key, Open], store: MemoryStore | None = None
    ) -> None:
        [self.way] = ways_of(of)
        self.now = AT
        self.open = dict(open_alerts)
        self.store = store or MemoryStore()
        self.rows: list[Row] = []
        self.telemetry = Telemetry(CollectorRegistry())
        self.notifier = Notifier(
            self.way,
            "site-a",
            self.open,
            self.telemetry,
            write=self.rows.append,
            clock=lambda: self.now,
        )

    async def tell(self, *, after: float = 0.0) -> None:
        self.now += after
        # Whoever waits to try again has waited.
        self.notifier._again_at = float("-inf")
        async with posted(self.way) as post:
            await self.notifier.tell(post)
        rows, self.rows[:] = [*self.rows], []
        assert await self.store.write(rows) == []

    def counted(self, name: str, **labels: str) -> float | None:
        full = f"meterhouse_collector_{name}"
        return self.telemetry.registry.get_sample_value(full, {"receiver": self.way.name, **labels})


@asynccontextmanager
async def posted(way: Way) -> AsyncIterator[Post]:
    async with posting(way.receiver, way.path) as post:
        yield post


def at(server: Alertmanager) -> AlertsConfig:
    return config(alertmanager={"url": server.url})


def of_site(server: Alertmanager, site: str) -> list[dict[str, dict[str, str]]]:
    return [alert for alert in server.alerts() if alert["labels"]["site"] == site]


async def test_alertmanager_has_what_fires_until_it_ends(alertmanager: Alertmanager) -> None:
    now = datetime.now(UTC).timestamp()
    teller = Teller(at(alertmanager), fires(since=now - 100, site="one", pool="chat"))
    teller.now = now
    await teller.tell()
    [alert] = of_site(alertmanager, "one")
    assert alert["labels"] == {
        "alertname": "idle",
        "severity": "ticket",
        "rule": "always:idle",
        "site": "one",
        "pool": "chat",
    }
    assert alert["annotations"]["summary"] == (
        "50.0% of the usable accelerators of pool chat stand idle; the limit is 40.0%"
    )
    assert alert["annotations"]["dashboard_url"] == f"{BOARDS}/d/meterhouse-capacity?var-site=one"
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/alerts/idle.md"
    ends = datetime.fromisoformat(str(alert["endsAt"])).timestamp()
    assert ends == pytest.approx(now + 300, abs=0.01)

    # Repeated before it would end, with the same beginning: still one.
    await teller.tell(after=61)
    [again] = of_site(alertmanager, "one")
    assert again["startsAt"] == alert["startsAt"]
    assert datetime.fromisoformat(str(again["endsAt"])).timestamp() > ends
    assert teller.counted("notifications_total", state="firing") == 2

    teller.open.clear()
    # Alertmanager compares the end with its own clock.
    teller.now = now - 1
    await teller.tell(after=1)
    assert of_site(alertmanager, "one") == []
    assert teller.counted("notifications_total", state="resolved") == 1
    await teller.tell(after=61)
    assert teller.counted("notifications_total", state="resolved") == 1


async def test_alertmanager_receives_what_the_scenario_fires_and_nothing_else(
    alertmanager: Alertmanager,
) -> None:
    site = Site(MemoryStore(), START, index(IDLE))
    await site.begin()
    teller = Teller(at(alertmanager), {})
    teller.open = site.alerts.book.open
    teller.notifier._open = site.alerts.book.open

    async def told() -> list[tuple[str, str]]:
        # The scenario is of other days: Alertmanager compares with its own clock.
        teller.now = datetime.now(UTC).timestamp()
        await teller.tell()
        return [
            (alert["labels"]["alertname"], alert["labels"]["rule"])
            for alert in of_site(alertmanager, "site-a")
        ]

    await site.run(60, "active")
    assert await told() == []
    await site.run(120, "free")
    assert await told() == [("idle", "idle")]
    await site.run(120, "active")
    assert await told() == []


async def test_an_outage_is_said_once_and_everything_is_told_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = datetime.now(UTC).timestamp()
    with Alertmanager(tmp_path) as server:
        teller = Teller(at(server), fires(since=now))
        teller.now = now
        server.stop()
        for _ in range(3):
            await teller.tell(after=1)
        assert teller.counted("notification_failures_total") == 3
        assert teller.counted("notifications_waiting") == 1
        server.start()
        await teller.tell(after=1)
        await teller.tell(after=1)
        assert len(server.alerts()) == 1
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("alerts: ")]
    assert len(said) == 2
    assert said[0].endswith("trying again")
    assert said[1] == "alerts: alertmanager is told again"
    assert teller.counted("notifications_waiting") == 0


async def test_what_is_not_taken_is_tried_ever_more_rarely() -> None:
    hook = Hook()
    hook.status = 503
    async with hook.served() as url:
        teller = Teller(config(webhook={"url": url}), fires())
        async with posted(teller.way) as post:
            for _ in range(5):
                await teller.notifier.tell(post)
    # The first waits a second before it is tried again: five looks at once are one request.
    assert len(hook.asked) == 1
    assert teller.counted("notification_failures_total") == 1


async def test_a_webhook_is_told_once_and_once_of_the_end() -> None:
    hook = Hook()
    async with hook.served() as url:
        teller = Teller(config(webhook={"url": url}), fires(pool="chat"))
        for _ in range(3):
            await teller.tell(after=120)
        assert hook.told == [("idle", "firing")]
        [alert] = hook.bodies[0]["alerts"]
        assert alert["starts_at"] == "2023-11-14T22:13:20.000+00:00"
        assert (alert["ends_at"], alert["value"], alert["limit"]) == (None, 0.5, 0.4)
        teller.open.clear()
        for _ in range(3):
            await teller.tell(after=120)
    assert hook.told == [("idle", "firing"), ("idle", "resolved")]


async def test_a_restart_tells_nothing_twice_and_what_ended_meanwhile_once() -> None:
    hook, store = Hook(), MemoryStore()
    async with hook.served() as url:
        alerts = {**fires(pool="chat"), **fires("pue", value=2.5)}
        first = Teller(config(webhook={"url": url}), alerts, store)
        await first.tell()
        assert sorted(hook.told) == [("idle", "firing"), ("pue", "firing")]

        second = Teller(config(webhook={"url": url}), fires("pue", value=2.6), store)
        second.now = first.now + 60
        await second.notifier.read_back(store)
        await second.tell()
        assert hook.told[2:] == [("idle", "resolved")]
        assert hook.bodies[-1]["alerts"][0]["labels"]["pool"] == "chat"

        third = Teller(config(webhook={"url": url}), fires("pue", value=2.6), store)
        # Hours later: where it stands is written in each quarter while it runs.
        for _ in range(3):
            await second.tell(after=900)
        third.now = second.now + 7200
        await third.notifier.read_back(store)
        await third.tell()
    assert len(hook.told) == 3


async def test_what_fired_anew_while_nobody_was_told_is_told() -> None:
    hook, store = Hook(), MemoryStore()
    async with hook.served() as url:
        first = Teller(config(webhook={"url": url}), fires(), store)
        await first.tell()
        again = Teller(config(webhook={"url": url}), fires(since=AT + 500), store)
        again.now = AT + 600
        await again.notifier.read_back(store)
        await again.tell()
    assert hook.told == [("idle", "firing")] * 2


async def test_one_that_is_refused_holds_up_no_other() -> None:
    hook = Hook()
    hook.refused_site = "bad"
    async with hook.served() as url:
        alerts = {**fires(site="bad"), **fires("pue"), **fires("load")}
        teller = Teller(config(webhook={"url": url}), alerts)
        await teller.tell()
        await teller.tell(after=60)
    assert sorted(hook.told) == [("load", "firing"), ("pue", "firing")]
    assert teller.counted("notifications_refused_total") == 1
    assert teller.counted("notifications_total", state="firing") == 2
    assert teller.counted("notification_failures_total") is None


async def test_many_are_told_in_parts() -> None:
    hook = Hook()
    alerts = {k: v for n in range(BATCH + 1) for k, v in fires(node=f"node-{n}").items()}
    async with hook.served() as url:
        await Teller(config(webhook={"url": url}), alerts).tell()
    assert [len(body["alerts"]) for body in hook.bodies] == [BATCH, 1]


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ({"token": {"env": "TELL_SECRET"}}, "Bearer s3cret"),
        ({"username": "me", "password": {"env": "TELL_SECRET"}}, "Basic bWU6czNjcmV0"),
        ({}, None),
    ],
)
async def test_it_says_who_it_is(
    monkeypatch: pytest.MonkeyPatch, login: dict[str, object], header: str | None
) -> None:
    monkeypatch.setenv("TELL_SECRET", "s3cret")
    hook = Hook()
    async with hook.served() as url:
        await Teller(config(webhook={"url": url, **login}), fires()).tell()
    assert hook.asked[0].get("Authorization") == header


async def test_a_redirect_is_not_followed() -> None:
    hook = Hook()
    hook.status = 302
    async with hook.served() as url:
        teller = Teller(config(webhook={"url": url}), fires())
        await teller.tell()
    assert len(hook.asked) == 1
    assert teller.counted("notification_failures_total") == 1


async def test_a_certificate_is_verified(tmp_path: Path) -> None:
    authority = made_authority(tmp_path / "ca")
    now = datetime.now(UTC)
    authority.enroll("broker", "127.0.0.1", renew=False, now=now, days=2)
    paths = authority.paths("broker", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(paths.certificate, paths.key)
    hook = Hook()
    async with hook.served(context) as url:
        stranger = Teller(config(webhook={"url": url}), fires())
        async with posted(stranger.way) as post:
            with pytest.raises(NotTakenError, match="certificate"):
                await post.send(b"{}")
        knows = {"url": url, "ca_file": str(authority.certificate)}
        await Teller(config(webhook=knows), fires()).tell()
    assert hook.told == [("idle", "firing")]


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"url": "ftp://hooks.example"}, "http"),
        ({"url": "https://me:secret@hooks.example"}, "no user"),
        ({"url": "https://hooks.example?key=secret"}, "query"),
        ({"url": "http://hooks.example", "token": {"env": "X"}}, "overheard"),
        ({"url": "https://hooks.example", "username": "me"}, "go together"),
        ({"url": "https://hooks.example", "timeout": "0s"}, "greater than 0"),
        (
            {
                "url": "https://hooks.example",
                "token": {"env": "X"},
                "username": "me",
                "password": {"env": "X"},
            },
            "either token",
        ),
    ],
)
def test_a_config_that_cannot_be_used_is_a_fault(table: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        config(webhook=table)
    assert "secret@" not in str(caught.value)


async def test_words_that_cannot_be_read_cost_only_their_own_alert(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook, store = Hook(), MemoryStore()
    async with hook.served() as url:
        first = Teller(config(webhook={"url": url}), fires(), store)
        await first.tell()
        [point] = await store.points("event", "event", start_seconds=0, end_seconds=2**40)
        tags = tuple((k, "other" if k == "alert" else v) for k, v in point.tags)
        await store.write([point._replace(tags=tags, fields={**point.fields, "message": "{"})])
        second = Teller(config(webhook={"url": url}), fires(), store)
        await second.notifier.read_back(store)
        await second.tell()
    assert hook.told == [("idle", "firing")]
    assert "1 words to webhook cannot be read back" in caplog.text
