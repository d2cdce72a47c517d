"""The writer: no receipt before the row is there, and nothing lost on the way."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from meterhouse_collector.rows import DirtyRow, PackedRow, Point, Row
from meterhouse_collector.settings import Secret
from meterhouse_collector.store import Rejection, StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from tests.collector.collecting import LENGTH, MemoryStore, now_on_grid
from tests.collector.writing import (
    Written,
    entries,
    entry,
    loose,
    sqlite,
    until,
)


async def test_what_is_accepted_is_in_the_file_before_its_receipt(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as store:
        it = Written(store)
        starts = [now_on_grid() - k * LENGTH for k in range(20)]
        with it.running():
            for start in starts:
                assert it.writer.accept(entry(start=start, detail=True))
            await until(lambda: len(it.stored()) == len(starts))
            rows = await store.packed(
                "ledger", "node", start_seconds=min(starts), end_seconds=max(starts) + 1
            )
        assert {("node-1", row.start_seconds) for row in rows} == it.stored()


async def test_no_receipt_while_the_store_has_not_answered() -> None:
    store = MemoryStore()
    store.gate = asyncio.Event()
    it = Written(store)
    with it.running():
        it.writer.accept(entry())
        await until(lambda: store.writes == 1)
        await asyncio.sleep(0.1)
        assert (it.stored(), store.packed_rows) == (set(), {})
        store.gate.set()
        await until(lambda: len(it.stored()) == 1)
    assert len(store.packed_rows) == 1


async def test_a_store_that_is_down_gets_all_rows_later_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    store.down, store.trouble = "writing 7 rows: no answer", "no answer"
    it = Written(store)
    with it.running():
        for position, made in enumerate(entries(40)):
            it.writer.accept(made)
            it.writer.write(loose(position))
        await until(lambda: store.writes >= 2)
        store.down = "writing 9 rows: no answer"
        assert it.value("store_up") == 0
        assert (it.said, it.writer.room) == ([], 0)
        await until(lambda: store.writes >= 3)
        store.down = ""
        await until(lambda: len(store.packed_rows) == 40 + 40)
    assert it.value("store_up") == 1
    lines = [record.getMessage() for record in caplog.records if "store" in record.getMessage()]
    assert [line.split(";")[0] for line in lines] == [
        "store: writing 7 rows: no answer",
        "store: takes rows again",
    ]


class Tried(InfluxStore):
    """A store that keeps why each write failed."""

    def __init__(self, config: InfluxConfig) -> None:
        super().__init__(config)
        self.errors: list[StoreUnavailableError] = []

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        try:
            return await super().write(rows)
        except StoreUnavailableError as error:
            self.errors.append(error)
            raise


@asynccontextmanager
async def tried(server: socket.socket, folder: Path) -> AsyncIterator[Tried]:
    """Lend a store at a socket's port: nothing answers while the socket does not listen."""
    server.bind(("127.0.0.1", 0))
    (folder / "token").write_text("secret")
    token = Secret(file=folder / "token")
    store = Tried(
        InfluxConfig(url=f"http://127.0.0.1:{server.getsockname()[1]}", org="org", token=token)
    )
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def answering(server: socket.socket, statuses: Iterator[int]) -> AsyncIterator[None]:
    """Answer each request with the next status; 0 breaks it off."""

    async def answer(request: web.Request) -> web.Response:
        status = next(statuses)
        if status == 0 and request.transport is not None:
            request.transport.abort()
        return web.Response(status=status or 500)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, server).start()
        yield
    finally:
        await runner.cleanup()


async def test_one_outage_is_told_once_whichever_bucket_met_it(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    live = Point("live", "rollup", (("site", "site-a"),), {"it_joules": 1.0}, now_on_grid())
    with socket.socket() as server:
        async with tried(server, tmp_path) as store:
            it = Written(store)
            with it.running():
                it.writer.write(live)
                await until(lambda: len(store.errors) == 1)
                it.writer.accept(entry())
                await until(lambda: len(store.errors) == 2)
                async with answering(server, repeat(401)):
                    await until(lambda: len(store.errors) == 3)
                    await until(lambda: caplog.text.count("reports wait") == 2)
    buckets = [str(error).split(" at ")[0].rpartition("/")[2] for error in store.errors]
    assert buckets == ["live", "ledger", "ledger"]
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert [str(store.errors[n]) in line for n, line in zip((0, 2), told, strict=True)] == [
        True
    ] * 2


async def test_a_server_that_goes_is_one_trouble_and_what_it_says_is_another(
    tmp_path: Path,
) -> None:
    statuses = [0, 502, 503, 504, 0, 401, 404, 500]
    with socket.socket() as server:
        async with tried(server, tmp_path) as store:
            with pytest.raises(StoreUnavailableError, match="server runs"):
                await store.write([loose(1)])
            async with answering(server, iter(statuses)):
                for _ in statuses:
                    with pytest.raises(StoreUnavailableError):
                        await store.write([loose(1)])
    troubles = [error.trouble for error in store.errors]
    assert set(troubles[:6]) == {troubles[0]}
    assert len(set(troubles)) == 4


async def test_refused_rows_refuse_their_report_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    bad = now_on_grid() - 10

    def refuse(row: Row) -> str | None:
        if row.policy != "ledger" or row.measurement == "dirty":
            return "no detail and no mark today"
        if row.start_seconds == bad:
            return "too old"
        return "field type" if row.start_seconds == bad - LENGTH else None

    store.refuse = refuse
    it = Written(store)
    starts = [bad - 2 * LENGTH, bad - LENGTH, bad, bad + LENGTH, bad - 100 * LENGTH]
    with it.running():
        it.writer.write(loose(1))
        for start in starts:
            it.writer.accept(entry(start=start, detail=True))
        await until(lambda: len(it.stored()) == 3)
    assert {start for _, start in it.stored()} == {starts[0], starts[3], starts[4]}
    refused = {r.start_seconds: (r.reason, r.final) for s in it.said for r in s.refused}
    assert refused == {bad: ("too_old", True), bad - LENGTH: ("rejected_by_store", True)}
    assert it.value("rows_rejected_total", policy="ledger") == 3
    assert it.value("rows_total", policy="ledger") == 3
    lines = [r.getMessage() for r in caplog.records if "refused a row" in r.getMessage()]
    assert len(lines) == len({line.split("more of ")[1].split(" ")[0] for line in lines})


def poisoned(*bad: int) -> Callable[[Row], str | None]:
    def fail(row: Row) -> str | None:
        if row.policy == "ledger" and row.start_seconds in bad:
            raise RuntimeError(f"no way to write {row.start_seconds}")
        return None

    return fail


async def test_a_report_on_which_this_program_fails_is_set_aside_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    made = entries(1500)
    bad = {made[n].start_seconds for n in (0, 700, 1499)}
    # As in truth: each row stands at the start of its report.
    made = [
        replace(
            one,
            rows=[
                replace(row, start_seconds=one.start_seconds)
                for row in one.rows
                if isinstance(row, PackedRow)
            ],
        )
        for one in made
    ]
    store.refuse = poisoned(*bad)
    it = Written(store)
    with it.running():
        for one in made:
            it.writer.accept(one)
        it.writer.write(loose(1))
        await until(lambda: it.value("rows_rejected_total", policy="ledger") == len(bad))
        await until(lambda: sum(len(s.refused) for s in it.said) == len(bad))
        assert it.value("store_up") == 1
    refused = {r.start_seconds: (r.reason, r.final) for s in it.said for r in s.refused}
    assert refused == dict.fromkeys(bad, ("rejected_by_store", True))
    assert len(store.packed_rows) == 1500 - len(bad) + 1
    assert it.value("bugs_total", where="writer") == len(bad)
    told = [r.getMessage() for r in caplog.records if "refused a row" in r.getMessage()]
    assert len(told) == 1
    assert f"ledger/node of node-1 at {min(bad)}: BUG: RuntimeError" in told[0]


async def test_where_nothing_can_be_written_no_report_is_set_aside() -> None:
    store = MemoryStore()
    made = entries(200)
    # But for the marks of what is late, which stand at the start of a quarter.
    store.refuse = poisoned(*range(made[0].start_seconds, made[0].start_seconds + 10_000))
    late = [replace(one, start_seconds=one.start_seconds - 7200) for one in made]
    it = Written(store)
    with it.running():
        for one in late:
            it.writer.accept(one)
        await until(lambda: it.value("store_up") == 0)
        assert (it.said, it.writer.room) == ([], 0)
        store.refuse = lambda _: None
        await until(lambda: len(it.stored()) == 200)
    assert it.value("rows_rejected_total", policy="ledger") is None


async def test_receipts_wait_for_a_connection() -> None:
    it = Written(MemoryStore())
    it.connected = False
    with it.running():
        it.writer.accept(entry())
        await until(lambda: it.value("rows_total", policy="ledger") == 1)
        await asyncio.sleep(0.1)
        it.connected = True
        await until(lambda: len(it.stored()) == 1)


async def test_a_bug_of_the_store_ends_nothing_and_loses_nothing() -> None:
    store = MemoryStore()
    broken = True

    def refuse(_: Row) -> str | None:
        if broken:
            raise RuntimeError("a bug")
        return None

    store.refuse = refuse
    it = Written(store)
    with it.running() as task:
        it.writer.accept(entry())
        await until(lambda: it.value("bugs_total", where="writer") not in (None, 0))
        broken = False
        await until(lambda: len(it.stored()) == 1)
        assert not task.done()


async def test_each_attempt_to_write_a_mark_has_a_stamp_of_its_own() -> None:
    stamps: list[int] = []

    class Watched(MemoryStore):
        async def write(self, rows: Sequence[Row]) -> list[Rejection]:
            marks = [
                row for row in rows if isinstance(row, PackedRow) and row.measurement == "dirty"
            ]
            stamps.extend(msgspec.json.decode(mark.row, type=DirtyRow).stamp for mark in marks)
            self.down = "down" if len(stamps) < 3 else ""
            return await super().write(rows)

    old = now_on_grid() - 600
    store = Watched()
    it = Written(store)
    with it.running():
        it.writer.accept(entry(start=old))
        await until(lambda: it.stored() == {("node-1", old)})
    assert len(stamps) == len(set(stamps)) == 3
    assert stamps == sorted(stamps)
    # Only once the mark is in the store.
    assert it.changed == [old // 900 * 900]
