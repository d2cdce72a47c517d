"""The store of a test: a SQLite file of its own, or each store in turn where the module says so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meterhouse_collector.store import Store
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.stores import influx_config, opened_influx


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with ``STORES`` once with each of them."""
    kinds = getattr(metafunc.module, "STORES", None)
    if kinds is not None and "store" in metafunc.fixturenames:
        metafunc.parametrize("store", kinds, indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open an empty store."""
    if getattr(request, "param", "sqlite") == "sqlite":
        embedded = SqliteStore(SqliteConfig(path=str(tmp_path / "rows.sqlite")))
        await embedded.open()
        yield embedded
        await embedded.close()
        return
    server = request.getfixturevalue("influxdb_shared")
    async with opened_influx(await influx_config(server, tmp_path)) as influx:
        yield influx
