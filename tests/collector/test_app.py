"""The collector as a whole: how it stops, and how it ends when it cannot begin."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_collector.app import Collector
from meterhouse_collector.config import CollectorConfig, validate
from meterhouse_collector.quarters.settle import done_quarters
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import LENGTH, SITE, now_on_grid, report, status, topic
from tests.collector.hearing import DEADLINE_SECONDS, until
from tests.servers import Port


def collector(folder: Path, **more: object) -> Collector:
    (folder / "site.toml").write_text(SITE)
    table = {
        "site": str(folder / "site.toml"),
        "sqlite": {"path": str(folder / "rows.sqlite")},
        "receipts_every": "1h",
        **more,
    }
    config: CollectorConfig = validate(table, "collector.toml")
    return Collector(config)


async def test_a_collector_that_is_stopped_writes_all_and_sends_the_receipts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.sock"
    it = collector(tmp_path, socket={"path": str(path)}, flush_every="1h")
    task = asyncio.create_task(it.run(), name="collector")
    await until(path.exists)
    reader, writer = await asyncio.open_unix_connection(path)
    starts = [now_on_grid() - k * LENGTH for k in range(20)]
    writer.write(wire.frame(topic("status"), wire.encode(status())))
    for start in starts:
        writer.write(wire.frame(topic("report"), wire.encode(report(start=start))))
    await until(lambda: it.telemetry.taken.total == len(starts))
    task.cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, payload = await wire.read_frame(reader)
        with suppress(asyncio.CancelledError):
            await task
    assert wire.decode_receipt(payload).stored == [(min(starts), max(starts))]
    writer.close()
    store = SqliteStore(it.config.sqlite) if it.config.sqlite else None
    assert store is not None
    await store.open()
    rows = await store.packed("ledger", "node", start_seconds=0, end_seconds=2**40)
    await store.close()
    assert sorted(row.start_seconds for row in rows) == sorted(starts)


async def test_a_socket_that_cannot_be_made_ends_it_in_words(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "c.sock"
    it = collector(tmp_path, socket={"path": str(path)})
    with pytest.raises(OSError, match="folder must be there") as caught:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await it.run()
    assert str(path) in str(caught.value)


async def test_a_collector_without_store_and_broker_still_stops(tmp_path: Path) -> None:
    port = Port()
    try:
        nowhere = {"path": str(tmp_path / "no" / "such" / "folder.sqlite")}
        for more in ({}, {"sqlite": nowhere}):
            it = collector(tmp_path, mqtt={"host": "127.0.0.1", "port": port.number}, **more)
            task = asyncio.create_task(it.run(), name="collector")
            await asyncio.sleep(0.3)
            task.cancel()
            async with asyncio.timeout(DEADLINE_SECONDS):
                with suppress(asyncio.CancelledError):
                    await task
    finally:
        port.release()


async def test_a_report_of_an_earlier_quarter_is_summed_without_being_asked(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.sock"
    it = collector(tmp_path, socket={"path": str(path)})
    task = asyncio.create_task(it.run(), name="collector")
    await until(path.exists)
    _, writer = await asyncio.open_unix_connection(path)
    quarter = now_on_grid() // 900 * 900 - 1800
    writer.write(wire.frame(topic("status"), wire.encode(status())))
    writer.write(wire.frame(topic("report"), wire.encode(report(start=quarter))))
    await until(lambda: task.done() or it.telemetry.taken.total == 1)
    done: set[int] = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while quarter not in done:
            await asyncio.sleep(0.2)
            done = await done_quarters(it.store, "site-a", quarter, quarter + 1)
    rows = await it.store.packed("quarter", "node", start_seconds=quarter, end_seconds=quarter + 1)
    assert [(row.thing, row.reader) for row in rows] == [("node-1", "steward")]
    writer.close()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
