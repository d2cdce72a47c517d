"""Tries what a config names and says, in a table, what was found and what is missing."""

import contextlib
import os
import time
from pathlib import Path

from meterhouse_collector.config import CollectorConfig, MqttConfig
from meterhouse_collector.notify.notifier import Way, ways_of
from meterhouse_collector.notify.post import NotTakenError, posting
from meterhouse_collector.receive.mqtt import probe
from meterhouse_collector.running import make_store
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store import StoreUnavailableError


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
    if config.influx is not None and config.influx.is_overheard():
        rows.append(("store", "missing", "https: whoever listens on the way can take the token"))
    rows.append(await _store(config))
    if config.mqtt is not None:
        rows += [await _broker(server, config.client_id) for server in config.mqtt.each_server()]
    if config.socket is not None:
        rows.append(_socket(config.socket.path))
    if config.alerts is not None:
        rows += [await _receiver(way) for way in ways_of(config.alerts)]
    lines = [f"{what:<8}{state:<10}{text}" for what, state, text in rows]
    return lines, all(state != "failed" for _, state, _ in rows)


async def _store(config: CollectorConfig) -> tuple[str, str, str]:
    store = make_store(config)
    try:
        await store.open()
    except StoreUnavailableError as error:
        return "store", "failed", str(error)
    finally:
        with contextlib.suppress(StoreUnavailableError):
            await store.close()
    name = "SQLite" if config.influx is None else f"InfluxDB at {config.influx.url}"
    return "store", "ok", f"{name} takes and gives rows"


async def _broker(config: MqttConfig, client_id: str) -> tuple[str, str, str]:
    peer = f"{config.host}:{config.port}"
    trouble = await probe(config, client_id)
    if trouble is not None:
        return "broker", "failed", f"{peer}: {trouble}: is it running, and may we in?"
    return "broker", "ok", f"{peer} lets us in"


async def _receiver(way: Way) -> tuple[str, str, str]:
    """Post no alert at all: that tells nobody of anything, and is let in or not all the same."""
    try:
        async with posting(way.receiver, way.path) as post:
            await post.send(way.body([], time.time()))
    except (NotTakenError, OSError, ValueError) as error:
        return "alerts", "failed", f"{way.name}: {error}"
    return "alerts", "ok", f"{way.name} at {way.receiver.url} takes them"


def _socket(path: Path) -> tuple[str, str, str]:
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        return "socket", "failed", f"{path}: its folder must be there and writable"
    return "socket", "ok", f"{path} can be made"
