"""What every role of a collector does alike: its store opened, its tasks run, its end."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from meterhouse_collector.config import CollectorConfig
from meterhouse_collector.receive import Deliver, Receiver
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.store.sqlite import SqliteStore
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_GC_THRESHOLDS: Final = (100_000, 20, 100)
_OPEN_RETRY_SECONDS: Final = (0.5, 15.0)


async def open_store(
    store: Store, telemetry: Telemetry, read_back: Callable[[], Awaitable[None]]
) -> None:
    """Open a store and read back what is needed of it; try until it can be used."""
    wait, longest = _OPEN_RETRY_SECONDS
    told = ""
    while True:
        try:
            await store.open()
            await read_back()
        except StoreUnavailableError as error:
            if str(error) != told:
                _LOG.error("store: %s; trying again", error)
            told = str(error)
        else:
            telemetry.store_up.set(1)
            if told:
                _LOG.info("store: opened")
            return
        await asyncio.sleep(wait)
        wait = min(longest, wait * 2)


async def collect(
    receiver: Receiver,
    deliver: Deliver,
    work: Callable[[], Awaitable[None]],
) -> None:
    """Receive for as long as the work lasts; raise ``OSError`` for what the machine refuses."""
    # What lives until the end is looked at no more, and the rest less often: with a large site in
    # memory collections took a seventh of the CPU. Hardly anything forms cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        async with asyncio.TaskGroup() as tasks:
            # It ends last: receipts for what is written at the end still go out.
            tasks.create_task(receiver.run(deliver), name="receiver")
            await work()
    except ExceptionGroup as group:
        # What the machine refuses, like a socket's path, is told in its own words.
        refused, bugs = group.split(OSError)
        if bugs is not None or refused is None:
            raise
        raise _first(refused) from None


def _first(group: ExceptionGroup[OSError]) -> OSError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def close_store(store: Store) -> None:
    """Let go of a store, also of one that is away."""
    with contextlib.suppress(StoreUnavailableError):
        await store.close()


def make_store(config: CollectorConfig) -> Store:
    """Return the store of a config, not yet open; SQLite where none is named."""
    if config.influx is not None:
        return InfluxStore(config.influx)
    return SqliteStore(config.sqlite or SqliteConfig(path="meterhouse.sqlite"))
