"""The spool after damage, a full disk or a kill: what it makes of what is left."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meterhouse_agent.spool import Spool, SpoolError, Standing, spool_path
from tests.agent.spools import MAX_BYTES, STEP, opened, put, standing, starts


def fill(folder: Path, count: int = 200) -> Path:
    """Leave a spool as a killed agent would: with reports in the file and in its log."""
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from tests.agent.spools import MAX_BYTES, put\n"
        "from meterhouse_agent.spool import Spool, spool_path\n"
        "async def main():\n"
        "    spool = Spool(spool_path(Path(sys.argv[1]), 'node-1'), 1 << 24)\n"
        "    await spool.open()\n"
        f"    for start in range(0, {count} * 5, 5):\n"
        "        await put(spool, start, b'x' * 3000)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=60)
    return spool_path(folder, "node-1")


def checkpoint(path: Path) -> None:
    """Bring all of the log into the file, or it would heal the damage."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def shorten(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"junk of another kind " * 5000)


def _scratch(path: Path) -> None:
    """Write over the pages in the middle, where no header tells of it."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 16384))


def _replace(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE report (id TEXT, other_body TEXT)")
        other.execute("INSERT INTO report VALUES ('1', 'belongs to someone')")


def _from_later(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 999")


@pytest.mark.parametrize("damage", [_truncate, _overwrite, _scratch, _replace, _from_later])
async def test_a_file_that_cannot_be_used_is_moved_and_a_new_one_begun(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fill(tmp_path)
    checkpoint(path)
    damage(path)
    found = path.read_bytes()

    async with opened(tmp_path) as (spool, before):
        assert (before, spool.reports) == (Standing(0, []), 0)
        assert spool.dropped["spool_damaged"] == 1
        await put(spool, 5)
    async with opened(tmp_path) as (spool, before):
        assert await starts(spool) == [5]

    assert path.with_suffix(".damaged").read_bytes() == found
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(path) in caplog.text


async def test_damage_after_damage_fills_no_disk(tmp_path: Path) -> None:
    for _ in range(5):
        path = fill(tmp_path, 2)
        checkpoint(path)
        _overwrite(path)
        async with opened(tmp_path) as (spool, _):
            await put(spool, 5)

    assert names(tmp_path) == ["node-1.damaged", "node-1.spool"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
async def test_a_log_cut_short_loses_the_last_reports_with_their_readings(
    share: float, tmp_path: Path
) -> None:
    path = fill(tmp_path, 100)
    shorten(Path(f"{path}-wal"), share)

    async with opened(tmp_path, 1 << 24) as (spool, after):
        kept = await starts(spool)
        assert kept == list(range(0, len(kept) * STEP, STEP))
        assert 0 < len(kept) < 100
        assert after == standing(kept[-1], kept[-1])


async def test_a_damaged_page_found_while_running_is_got_over(tmp_path: Path) -> None:
    path = fill(tmp_path)
    async with opened(tmp_path, 1 << 24) as (spool, _):
        await put(spool, 5000)
        checkpoint(path)
        _scratch(path)
        with pytest.raises(SpoolError):
            await spool.oldest(1000, skip=())
        assert not spool.is_open

        await spool.open()
        await put(spool, 5005)
        assert await starts(spool) == [5005]


async def test_a_folder_in_which_nothing_may_be_written_is_an_error_and_no_crash(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", Path("/proc/meterhouse")):
        spool = Spool(spool_path(folder, "node-1"), MAX_BYTES)
        with pytest.raises(SpoolError, match=r"spool .*node-1\.spool"):
            await spool.open()
        with pytest.raises(SpoolError):
            await put(spool, 0)
        await spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 512 KiB; without root that cannot be, and in CI it must."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("no file system can be mounted here: see the test with a limit on files")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_read_only_file_system_is_an_error_and_no_crash(small_disk: Path) -> None:
    remount = await asyncio.create_subprocess_exec("mount", "-o", "remount,ro", str(small_disk))
    assert await remount.wait() == 0
    spool = Spool(spool_path(small_disk, "node-1"), MAX_BYTES)
    with pytest.raises(SpoolError):
        await spool.open()
    await spool.close()


async def test_a_full_disk_is_an_error_until_there_is_room_again(small_disk: Path) -> None:
    async with opened(small_disk, 1 << 24) as (spool, _):
        await put(spool, 0)
        ballast = small_disk / "ballast"
        fill_up(ballast)
        last = await _put_until_refused(spool)
        ballast.unlink()
        if not spool.is_open:
            await spool.open()
        await put(spool, last + STEP)

        assert await starts(spool) == [*range(0, last, STEP), last + STEP]
        assert spool.reports == len(await starts(spool))


def fill_up(ballast: Path) -> None:
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(file, b"x" * 4096):
            pass
    os.close(file)


async def _put_until_refused(spool: Spool) -> int:
    for start in range(STEP, 5000, STEP):
        try:
            await put(spool, start, b"x" * 20_000)
        except SpoolError:
            return start
    raise AssertionError("the disk was never full")


def test_a_file_that_may_not_grow_is_an_error_until_it_may_again(tmp_path: Path) -> None:
    program = (
        "import asyncio, resource, sys\n"
        "from pathlib import Path\n"
        "from tests.agent.test_spool_damage import limited\n"
        "asyncio.run(limited(Path(sys.argv[1])))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


async def limited(folder: Path) -> None:
    """Write under a limit on the size of files, then without: run in a process of its own."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    async with opened(folder, 1 << 24) as (spool, _):
        last = await _put_until_refused(spool)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        if not spool.is_open:
            await spool.open()
        await put(spool, last + STEP)

        assert await starts(spool) == [*range(STEP, last, STEP), last + STEP]


def test_a_kill_leaves_reports_and_readings_that_agree(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.agent.test_spool_damage import write_for_ever\n"
        "asyncio.run(write_for_ever(Path(sys.argv[1])))\n"
    )
    upto = 0
    for wait in (0.1, 0.17, 0.05, 0.3):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        with writer.stdout as said:
            said.readline()
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
            sent = max([upto, *(int(line) for line in said if line.endswith(b"\n"))])
        writer.wait()

        async def read() -> tuple[list[int], Standing]:
            async with opened(tmp_path, 1 << 26) as (spool, left):
                return await starts(spool), left

        kept, left = asyncio.run(read())
        assert kept == list(range(0, len(kept) * STEP, STEP))
        assert left == standing(kept[-1], kept[-1])
        # What the writer was told is written is there.
        assert kept[-1] >= sent > upto or sent == upto
        upto = kept[-1]
    assert upto > 0


async def write_for_ever(folder: Path) -> None:
    """Write report after report, saying each: run in a process that is killed."""
    async with opened(folder, 1 << 26) as (spool, left):
        print("open", flush=True)  # noqa: T201 - the parent waits for it
        start = left.closed_until_seconds
        while True:
            await put(spool, start, b"x" * 500)
            print(start, flush=True)  # noqa: T201 - the parent reads it
            start += STEP
