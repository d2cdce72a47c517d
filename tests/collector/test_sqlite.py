"""The embedded store on a disk that is full, read-only, damaged, gone or slow."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from meterhouse_collector.rows import POLICY_DAYS, PackedRow
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.stores import QUARTER, packed, point

DAY = 86_400


@asynccontextmanager
async def opened(path: Path | str, deadline: str = "10s") -> AsyncIterator[SqliteStore]:
    store = SqliteStore(SqliteConfig.model_validate({"path": str(path), "timeout": deadline}))
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def ledger(store: SqliteStore, thing: str | None = None) -> list[PackedRow]:
    return await store.packed("ledger", "node", start_seconds=0, end_seconds=2**40, thing=thing)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


async def test_rows_outlive_the_store(tmp_path: Path) -> None:
    async with opened(tmp_path / "rows") as store:
        assert await store.write([packed(), point(power_watts=3.0)]) == []
    async with opened(tmp_path / "rows") as store:
        assert await ledger(store) == [packed()]
        assert (await store.write([point(power_watts="text")]))[0].index == 0


async def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal\n"
        "from tests.collector.test_sqlite import *\n"
        "async def main():\n"
        f"    async with opened({str(tmp_path / 'rows')!r}) as store:\n"
        "        await store.write([packed(f'node-{n}') for n in range(100)])\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    ended = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, cwd=root
    )
    assert await asyncio.wait_for(ended.wait(), 60) == -9
    async with opened(tmp_path / "rows") as store:
        assert len(await ledger(store)) == 100


async def test_memory_keeps_rows_while_it_is_open() -> None:
    async with opened(":memory:") as store:
        assert await store.write([packed(), point()]) == []
        with pytest.raises(StoreUnavailableError):
            await store._do("asking", lambda: store._connect().execute("SELECT nonsense"))
        assert await ledger(store) == [packed()]


async def test_one_thing_is_found_among_many(tmp_path: Path) -> None:
    async with opened(tmp_path / "rows") as store:
        rows = [packed(f"n-{n}", start=QUARTER + 5 * k) for k in range(20) for n in range(50)]
        assert await store.write(rows) == []
        found = await ledger(store, "n-7")
        assert found == [packed("n-7", start=QUARTER + 5 * k) for k in range(20)]
        assert await ledger(store, "n-x") == []


async def test_old_rows_leave_in_small_steps(tmp_path: Path) -> None:
    later = 0.0
    config = SqliteConfig(path=str(tmp_path / "rows"))
    store = SqliteStore(config, now_seconds=lambda: QUARTER + later)
    await store.open()
    rows = [packed(f"n-{n:04d}", start=QUARTER + n % 7) for n in range(2500)]
    points = [point(f"gpu-{n:04d}") for n in range(1500)]
    assert await store.write([*rows, *points, packed(policy="quarter")]) == []
    later = 7.0 + POLICY_DAYS["ledger"] * DAY
    new = QUARTER + POLICY_DAYS["ledger"] * DAY
    left = []
    for step in range(3):
        assert await store.write([packed("new", start=new + step)]) == []
        left.append(len(await ledger(store)))
    assert left == [1501, 502, 3]
    assert await store.points("detail", "accelerator", start_seconds=0, end_seconds=2**40) == []
    [kept] = await store.packed("quarter", "node", start_seconds=0, end_seconds=2**40)
    assert kept == packed(policy="quarter")
    await store.close()


async def test_a_full_disk_refuses_until_there_is_room(small_disk: Path) -> None:
    async with opened(small_disk / "rows") as store:
        assert await store.write([packed("first")]) == []
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 600_000)
        with pytest.raises(StoreUnavailableError, match=r"writing 500 rows in .*full: make room"):
            await store.write([packed(f"node-{n}", row="x" * 1000) for n in range(500)])
        assert await ledger(store) == [packed("first")]
        ballast.unlink()
        assert await store.write([packed("second")]) == []
        assert [row.thing for row in await ledger(store)] == ["first", "second"]


async def test_a_file_that_may_not_grow_refuses_whole_batches(tmp_path: Path) -> None:
    async with opened(tmp_path / "rows") as store:
        await store._do("limiting", lambda: store._connect().execute("PRAGMA max_page_count = 20"))
        with pytest.raises(StoreUnavailableError, match="full"):
            await store.write([packed(f"node-{n}", row="x" * 1000) for n in range(500)])
        assert await ledger(store) == []


async def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    async with opened(small_disk / "rows") as store:
        assert await store.write([packed()]) == []
    remount(small_disk, "ro")
    with pytest.raises(
        StoreUnavailableError, match=r"opening in .*rows: .*readonly|unable to open"
    ):
        async with opened(small_disk / "rows"):
            pass
    remount(small_disk, "rw")
    async with opened(small_disk / "rows") as store:
        assert await ledger(store) == [packed()]


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="its folder must be there"):
        async with opened(tmp_path / "absent" / "rows"):
            pass


async def test_a_lock_of_another_program_is_waited_for_and_named(tmp_path: Path) -> None:
    async with opened(tmp_path / "rows", "400ms") as store:
        with closing(sqlite3.connect(tmp_path / "rows", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailableError, match="locked: another program holds it"):
                await store.write([packed()])
            other.execute("ROLLBACK")
        assert await store.write([packed()]) == []


async def test_a_damaged_file_is_named_and_a_backup_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    async with opened(path) as store:
        assert await store.write([packed(f"n-{n}", row="x" * 500) for n in range(500)]) == []
    shutil.copy(path, tmp_path / "backup")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))
    async with opened(path) as store:
        with pytest.raises(StoreUnavailableError, match="damaged; put a backup"):
            await ledger(store)
        (tmp_path / "backup").replace(path)
        for rest in ("rows-wal", "rows-shm"):
            (tmp_path / rest).unlink(missing_ok=True)
        assert len(await ledger(store)) == 500


async def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"not a database " * 1000)
    with pytest.raises(StoreUnavailableError, match="not a database: it is damaged"):
        async with opened(tmp_path / "rows"):
            pass
    assert (tmp_path / "rows").read_bytes() == b"not a database " * 1000


async def test_a_file_of_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rows")) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailableError, match="schema 99 is of a newer collector"):
        async with opened(tmp_path / "rows"):
            pass


async def test_a_file_that_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    async with opened(path) as store:
        assert await store.write([packed("before")]) == []
        path.rename(tmp_path / "away")
        for attempt in (store.write([packed("between")]), ledger(store)):
            with pytest.raises(StoreUnavailableError, match="the file is gone"):
                await attempt
        assert not path.exists()
        (tmp_path / "away").rename(path)
        assert await store.write([packed("after")]) == []
        assert [row.thing for row in await ledger(store)] == ["after", "before"]


async def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    endless = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    )
    async with opened(tmp_path / "rows", "300ms") as store:
        with pytest.raises(StoreUnavailableError, match=r"counting in .*not done in 0\.3 s"):
            await store._do("counting", lambda: store._connect().execute(endless).fetchone())
        assert await store.write([packed()]) == []
        assert await ledger(store) == [packed()]


async def test_many_at_once_take_turns(tmp_path: Path) -> None:
    async with opened(tmp_path / "rows") as store:
        await asyncio.gather(*(store.write([packed(f"node-{n:02d}")]) for n in range(50)))
        assert len(await ledger(store)) == 50
        task = asyncio.create_task(store.write([packed("cancelled")]), name="cancelled write")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.write([packed("after")]) == []
