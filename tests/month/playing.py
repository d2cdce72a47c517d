"""A scenario played into a store, and what is then read from it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from pydantic import SecretStr

from meterhouse_collector.rows import POLICY_DAYS, Point
from meterhouse_collector.settings import Secret
from meterhouse_collector.settlement.account import Account, account
from meterhouse_collector.settlement.reading import read_ledger_hash, read_sources
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store import Store
from meterhouse_collector.store.config import InfluxConfig, SqliteConfig
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.store.init_influx import init_influx
from meterhouse_collector.store.sqlite import SqliteStore
from tests.month.collecting import Clock, Collected, Compressed, Disorder, travel
from tests.month.reports import Reports
from tests.month.scenario import SITE, Scenario
from tests.month.site_text import site_text
from tests.servers import InfluxDB

_TIMEOUT: Final = "120s"
# The months of these tests lie in the past of the database's own clock.
_DAYS_KEPT: Final = 3650
_DAY_SECONDS: Final = 86_400


class Played(NamedTuple):
    """What came of a scenario."""

    collected: Collected
    account: Account
    ledger_hash: str


class Place(NamedTuple):
    """A store, and the clock of what runs on it."""

    store: Store
    clock: Clock


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Place]:
    """Open a store in a file of its own."""
    clock = Clock(0)
    config = SqliteConfig(path=str(folder / f"{uuid4().hex}.sqlite"), timeout=_TIMEOUT)  # type: ignore[arg-type] # as in a config file
    store = SqliteStore(config, now_seconds=clock)
    try:
        await store.open()
        yield Place(store, clock)
    finally:
        await store.close()


@asynccontextmanager
async def influx(server: InfluxDB, folder: Path) -> AsyncIterator[Place]:
    """Open a store in buckets of its own, which keep what is long past."""
    name = uuid4().hex
    config = InfluxConfig(
        url=server.url,
        org=server.org,
        token=Secret(file=folder / f"{name}.token"),
        database=name,
        timeout=_TIMEOUT,  # type: ignore[arg-type] # as in a config file
    )
    await init_influx(
        config,
        SecretStr(server.token),
        collector_token_file=folder / f"{name}.token",
        grafana_token_file=folder / f"{name}.grafana",
        policy_days=dict.fromkeys(POLICY_DAYS, _DAYS_KEPT),
    )
    store = InfluxStore(config)
    try:
        await store.open()
        yield Place(store, Clock(0))
    finally:
        await store.close()


async def play(place: Place, reports: Reports, disorder: Disorder, *, settle_every: int) -> Played:
    """Let a collector take all reports of a scenario, and return its account of the window."""
    scenario = reports.scenario
    index = SiteIndex(parse_site(site_text(scenario), "site.toml"))
    store, clock = place
    clock.now = scenario.begins
    collector = Compressed(store, index, clock)
    collected = await collector.collect(
        reports.statuses(), travel(reports, disorder), settle_every=settle_every
    )
    assert collector.troubles() == {}
    if not disorder.twice_ratio:
        assert collector.receipted == collected.sent
    window = (scenario.begins, scenario.ends)
    found = account(index, window, await read_sources(store, index, window))
    return Played(collected, found, await read_ledger_hash(store, index, window))


async def rollups(store: Store, scenario: Scenario) -> AsyncIterator[list[Point]]:
    """Yield the kept rollups of a window, a day at a time."""
    for begins in range(scenario.begins, scenario.ends, _DAY_SECONDS):
        ends = min(begins + _DAY_SECONDS, scenario.ends)
        found = await store.points("kept", "rollup", start_seconds=begins, end_seconds=ends)
        yield [point for point in found if ("site", SITE) in point.tags]
