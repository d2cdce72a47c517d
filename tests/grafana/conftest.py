"""One database with one known fleet, for every query of every board."""

import asyncio
from collections.abc import Iterable

import pytest

from meterhouse_collector.rows import Row
from meterhouse_collector.settings import Secret
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from tests.grafana import fleet, plain
from tests.grafana.asking import DATABASE, Asker
from tests.servers import InfluxDB


async def _write(config: InfluxConfig, rows: Iterable[Row]) -> None:
    store = InfluxStore(config)
    try:
        assert await store.write([*rows]) == []
    finally:
        await store.close()


@pytest.fixture(scope="session")
def asker(influxdb_shared: InfluxDB, tmp_path_factory: pytest.TempPathFactory) -> Asker:
    """Fill the database and return what asks it."""
    for policy in ("live", "kept", "detail", "event"):
        influxdb_shared.make_bucket(f"{DATABASE}/{policy}")
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(influxdb_shared.token)
    config = InfluxConfig(
        url=influxdb_shared.url,
        org=influxdb_shared.org,
        token=Secret(file=token),
        database=DATABASE,
    )
    rows = [*fleet.points(fleet.LIVE), *fleet.points(fleet.KEPT), *plain.rows()]
    asyncio.run(_write(config, rows))
    return Asker(influxdb_shared)
