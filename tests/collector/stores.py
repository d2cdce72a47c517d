"""Stores on real servers, and rows to put there."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from meterhouse_collector.rows import PackedRow, Point, Policy, Readings
from meterhouse_collector.settings import Secret
from meterhouse_collector.store import Store
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.store.init_influx import init_influx
from tests.servers import InfluxDB

QUARTER = int(time.time()) // 900 * 900 - 900


def packed(
    thing: str = "node-1",
    *,
    start: int = QUARTER,
    row: str = '{"length_milliseconds":5000}',
    reader: str = "node-1",
    policy: Policy = "ledger",
) -> PackedRow:
    return PackedRow(policy, "node", "site-a", thing, reader, start, row)


def point(
    device: str = "gpu-0",
    *,
    start: int = QUARTER,
    policy: Policy = "detail",
    **fields: float | str | bool,
) -> Point:
    return of_fields(fields or {"power_watts": 700.0}, device)._replace(
        policy=policy, start_seconds=start
    )


def of_fields(fields: Mapping[str, float | int | str | bool], device: str = "gpu-0") -> Point:
    tags = (("device", device), ("node", "node-1"))
    return Point("detail", "accelerator", tags, dict(fields), QUARTER)


def readings(device: str = "gpu-0", row: bytes = b'{"power_watts":700.0}') -> Readings:
    tags = (("device", device), ("node", "node-1"))
    return Readings("detail", "accelerator", tags, row, QUARTER)


async def influx_config(server: InfluxDB, folder: Path, *, deadline: str = "10s") -> InfluxConfig:
    """Make buckets and tokens of one's own, and return how to get at them."""
    config = InfluxConfig(
        url=server.url,
        org=server.org,
        token=Secret(file=folder / "collector.token"),
        database=f"test_{uuid4().hex}",
        timeout=deadline,  # type: ignore[arg-type] # as in a config file
    )
    await init(server, config, folder)
    return config


async def init(server: InfluxDB, config: InfluxConfig, folder: Path) -> list[str]:
    return await init_influx(
        config,
        SecretStr(server.token),
        collector_token_file=folder / "collector.token",
        grafana_token_file=folder / "grafana.token",
    )


@asynccontextmanager
async def opened_influx(config: InfluxConfig) -> AsyncIterator[InfluxStore]:
    store = InfluxStore(config)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def ledger(store: Store, thing: str | None = None) -> list[PackedRow]:
    return await store.packed(
        "ledger", "node", start_seconds=0, end_seconds=QUARTER + 86_400, thing=thing
    )


async def detail(store: Store) -> list[Point]:
    return await store.points(
        "detail", "accelerator", start_seconds=0, end_seconds=QUARTER + 86_400
    )
