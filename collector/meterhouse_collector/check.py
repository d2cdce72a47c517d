"""Tries what a config names and says, in a table, what was found and what is missing."""

import asyncio
import socket

from meterhouse_collector.app import make_store
from meterhouse_collector.config import CollectorConfig
from meterhouse_collector.site_index import SiteIndex
from meterhouse_collector.site_model import load_site
from meterhouse_collector.store import StoreUnavailableError

_CONNECT_SECONDS = 5.0


async def check(config: CollectorConfig) -> tuple[list[str], bool]:
    """Return the lines of the table, and whether all is well; raise ``SiteModelError``."""
    index = SiteIndex(load_site(config.site))
    model = index.model
    devices = sum(
        (a.devices if isinstance(a.devices, int) else len(a.devices)) * len(a.on_nodes)
        for a in model.asset
    )
    found = (
        f"{model.name}: {devices} accelerators on {len(index.nodes)} nodes, "
        f"{len(model.pool)} pools, {len(model.engine)} engines, {len(model.meter)} meters"
    )
    rows = [("site", "ok", found)]
    if not index.boundary_meters:
        rows.append(("site", "missing", "a meter of the boundary: PUE will have no value"))
    if not model.tariff:
        rows.append(("site", "missing", "a tariff: energy will have no cost"))
    rows.append(await _store(config))
    if config.mqtt is not None:
        rows.append(await _broker(config.mqtt.host, config.mqtt.port))
    lines = [f"{what:<8}{state:<10}{text}" for what, state, text in rows]
    return lines, all(state != "failed" for _, state, _ in rows)


async def _store(config: CollectorConfig) -> tuple[str, str, str]:
    store = make_store(config)
    try:
        await store.open()
        await store.close()
    except StoreUnavailableError as error:
        return "store", "failed", str(error)
    name = "SQLite" if config.influx is None else f"InfluxDB at {config.influx.url}"
    return "store", "ok", f"{name} takes and gives rows"


async def _broker(host: str, port: int) -> tuple[str, str, str]:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError, socket.gaierror) as error:
        return "broker", "failed", f"{host}:{port}: {error or 'no answer'}: is it running?"
    writer.close()
    return "broker", "ok", f"{host}:{port} answers"
