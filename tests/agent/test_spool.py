"""The spool on real files: what it keeps, for how long, and what it drops."""

import asyncio
import subprocess
import sys
from pathlib import Path

from meterhouse_agent.spool import Spooled, Standing
from meterhouse_agent.wire import Span
from tests.agent.spools import MAX_BYTES, STEP, opened, put, standing, starts

# What msgspec finds out about a type it asks of these functions, on the thread that comes first.
OPENS_A_SPOOL = """
import asyncio, sys, threading
from pathlib import Path
from meterhouse_agent.spool import Spool
asked = []
def look(frame, event, _):
    if event == "call" and frame.f_globals["__name__"] == "msgspec._utils":
        asked.append(frame.f_code.co_name)
threading.setprofile(look)
async def main():
    spool = Spool(Path(sys.argv[1], "node-1.spool"), 1 << 20)
    standing = await spool.open()
    await spool.close()
    print(len(standing.readings), len(standing.spans), asked)
asyncio.run(main())
"""


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "folder") as (spool, before):
        assert before == Standing(0, [])
        for start in (10, 0, 5):
            await put(spool, start, b"body-%d" % start)

    async with opened(tmp_path / "new" / "folder") as (spool, after):
        assert after == standing(5, 5)
        assert await spool.oldest(2, skip=[5]) == [(0, b"body-0"), (10, b"body-10")]
        assert (spool.reports, spool.bytes, spool.oldest_seconds) == (3, 19, 0)
        assert await spool.inventory("hash-a") == b"{}"
        assert await spool.inventory("hash-b") is None


async def test_many_reports_are_written_at_once_with_the_last_standing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        reports = [Spooled(start, b"{}") for start in range(0, 50, STEP)]
        await spool.commit(reports, standing(45, 9), {"a": b"1", "b": b"2"})

    async with opened(tmp_path) as (spool, after):
        assert (spool.reports, after) == (10, standing(45, 9))
        assert (await spool.inventory("a"), await spool.inventory("b")) == (b"1", b"2")


async def test_a_receipt_deletes_its_ranges_and_nothing_between_their_steps(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        for start in (0, 5, 7, 10, 15, 20):
            await put(spool, start)
        await spool.forget([(0, 10), (20, 20)], STEP)

        assert await starts(spool) == [7, 15]
        assert (spool.reports, spool.bytes, spool.oldest_seconds) == (2, 4, 7)
        await spool.forget([(0, 100)], 0)
        assert await starts(spool) == [7, 15]


async def test_the_oldest_go_when_it_is_full_and_are_counted(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        for start in range(0, 1000, STEP):
            await put(spool, start, b"x" * 1000)
        kept = await starts(spool)

        assert spool.bytes == 1000 * len(kept) <= MAX_BYTES
        assert kept == list(range(kept[0], 1000, STEP))
        assert spool.dropped["spool_full"] == 200 - len(kept)


async def test_a_report_larger_than_the_bound_is_still_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        await put(spool, 0, b"x" * 2 * MAX_BYTES)

        assert await starts(spool) == [0]


async def test_refused_reports_are_set_aside_and_come_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        for start in (0, 5, 10):
            await put(spool, start, b"%d" % start)
        await spool.set_aside([(0, "off_grid"), (10, "off_grid"), (99, "unknown here")])
        assert (await starts(spool), spool.reports) == ([5], 1)

    async with opened(tmp_path) as (spool, _):
        assert await spool.resend() == 2
        assert await spool.oldest(9, skip=()) == [(0, b"0"), (5, b"5"), (10, b"10")]
        assert await spool.resend() == 0


async def test_refused_reports_are_bounded_by_bytes_and_by_number(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        for start in range(0, 100, STEP):
            await put(spool, start, b"x" * 1000)
        await spool.set_aside([(start, "malformed") for start in range(0, 100, STEP)])

        assert spool.dropped["refused_full"] == 20 - MAX_BYTES // 8 // 1000
        assert await spool.resend() == MAX_BYTES // 8 // 1000
        assert await starts(spool) == list(range(60, 100, STEP))


async def test_inventories_are_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (spool, _):
        for number in range(100):
            await spool.commit([Spooled(0, b"")], standing(0, 0), {f"hash-{number}": b"{}"})

        assert await spool.inventory("hash-35") is None
        assert await spool.inventory("hash-36") == b"{}"


async def test_what_another_process_puts_back_is_seen(tmp_path: Path) -> None:
    async with opened(tmp_path) as (running, _), opened(tmp_path) as (command, _):
        for start in (0, 5):
            await put(running, start)
        await running.set_aside([(0, "malformed")])
        assert await command.resend() == 1
        await put(running, 10)

        assert (running.reports, await starts(running)) == (3, [0, 5, 10])


def test_the_thread_of_a_spool_finds_out_about_no_type(tmp_path: Path) -> None:
    """Two that do so at once end the process: msgspec shows one what the other has half found."""

    async def fill() -> None:
        async with opened(tmp_path) as (spool, _):
            stretch = Span(
                kind="meter",
                thing="hall-1",
                quantity="energy_joules",
                from_milliseconds=0,
                to_milliseconds=5000,
                amount=3.0,
                method="interpolated",
                reason="restart",
            )
            await spool.commit([], Standing(5, standing(0, 0).readings, (stretch,)), {})

    asyncio.run(fill())
    command = [sys.executable, "-c", OPENS_A_SPOOL, str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert printed.stdout == "1 1 []\n"
