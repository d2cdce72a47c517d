"""The embedded store: the same rows in one SQLite file, where no InfluxDB is configured."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import astuple

from meterhouse_collector.rows import POLICY_DAYS, PackedRow, Point, Policy, Readings, Row, singles
from meterhouse_collector.store import Rejection, StoreUnavailableError
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.line_protocol import LineEncoder
from meterhouse_collector.store.sqlite_schema import (
    FORGET,
    PUT_FIELD,
    PUT_PACKED,
    PUT_POINT,
    READ_OLDEST,
    READ_PACKED,
    READ_POINTS,
    READ_THING,
    SCHEMA,
    TABLES,
)

T = TypeVar("T")

DAY_SECONDS: Final = 86_400
_MEMORY: Final = ":memory:"
_ADVICE: Final = {
    "SQLITE_FULL": ": make room on the disk",
    "SQLITE_READONLY": ": it must be writable",
    "SQLITE_BUSY": ": another program holds it",
    "SQLITE_LOCKED": ": another program holds it",
    "SQLITE_CORRUPT": ": it is damaged; put a backup in its place, or move it away",
    "SQLITE_NOTADB": ": it is damaged; put a backup in its place, or move it away",
    "SQLITE_IOERR": ": check the disk",
    "SQLITE_CANTOPEN": ": its folder must be there and writable",
}
_TAGS: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_FIELDS: Final = msgspec.json.Decoder(dict[str, float | int | str | bool])
_ENCODER: Final = msgspec.json.Encoder()

_Field = tuple[Policy, str, str]


class SqliteStore:
    """Keeps rows in one SQLite file, touched by one thread; every await has the deadline.

    It refuses what InfluxDB would refuse: a field keeps its type, and rows older than their
    policy keeps them are too old. ``now_seconds`` is the clock that says so.
    """

    def __init__(
        self, config: SqliteConfig, *, now_seconds: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._now_seconds = now_seconds
        self._encoder = LineEncoder()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sqlite-store")
        self._turn = asyncio.Lock()
        self._running: asyncio.Future[Any] | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._fields: dict[_Field, str] = {}

    async def open(self) -> None:
        """Open the file, or make it; raise ``StoreUnavailableError`` where it cannot be used."""
        await self._do("opening", self._connect)

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        """Write rows in one transaction; return those that are refused, all others are in.

        Raises ``StoreUnavailableError`` when it is not sure that they are.
        """
        return await self._do(f"writing {len(rows)} rows", lambda: self._write(rows))

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        """Read packed rows with a start in [start, end), by thing, reader and start."""
        window = (policy, measurement, start_seconds, end_seconds)

        def read() -> list[PackedRow]:
            connection = self._connect()
            found: Iterable[tuple[Policy, str, str, str, str, int, str]]
            if thing is None:
                found = connection.execute(READ_PACKED, window)
            else:
                found = connection.execute(READ_THING, (*window, thing))
            return [PackedRow(*row) for row in found]

        return await self._do(f"reading {measurement}", read)

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        """Read plain points with a start in [start, end), by start and tags."""
        only = "" if node is None else _ENCODER.encode(("node", node)).decode()
        window = (policy, measurement, start_seconds, end_seconds, only)

        def read() -> list[Point]:
            found = [
                Point(policy, measurement, _TAGS.decode(tags), _FIELDS.decode(fields), start)
                for tags, fields, start in self._connect().execute(READ_POINTS, window)
            ]
            return sorted(found, key=lambda point: (point.start_seconds, point.tags))

        return await self._do(f"reading {measurement}", read)

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        """Return the start of the oldest row of a measurement, None where it has none."""

        def read() -> int | None:
            found = self._connect().execute(READ_OLDEST, (policy, measurement)).fetchone()
            return None if found is None else found[0]

        return await self._do(f"reading {measurement}", read)

    async def close(self) -> None:
        """Close the file and let the thread end."""
        try:
            await self._do("closing", self._disconnect)
        finally:
            self._worker.shutdown(wait=False)

    async def _do(self, what: str, task: Callable[[], T]) -> T:
        """Run a task on the thread, within the deadline."""
        try:
            async with asyncio.timeout(self._config.timeout), self._turn:
                if self._running is not None:
                    # Its caller gave up on it; nothing may queue up behind it.
                    await asyncio.wait([self._running])
                return await self._run(task)
        except TimeoutError:
            reason = f"not done in {self._config.timeout:g} s: check the disk"
            raise self._unavailable(what, reason) from None
        except sqlite3.Error as error:
            raise self._unavailable(what, _trouble(error)) from None
        except OSError as error:
            raise self._unavailable(what, error.strerror or str(error)) from None

    async def _run(self, task: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._worker, self._guarded, task)
        future.add_done_callback(_look_at)
        self._running = future
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            connection = self._connection
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.interrupt()
            raise

    def _guarded(self, task: Callable[[], T]) -> T:
        try:
            return task()
        except sqlite3.Error:
            if self._config.path != _MEMORY:
                # A new connection sees a disk that has room again, or a file that was put back.
                self._disconnect()
            elif self._connection is not None:
                self._connection.rollback()
            raise

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._config.path == _MEMORY:
            return self._connection
        inode = _inode(self._config.path)
        if inode is None and self._inode is not None:
            self._disconnect()
            reason = "the file is gone: put it back, or restart to begin a new one"
            raise self._unavailable("opening", reason)
        if self._connection is not None and inode == self._inode:
            return self._connection
        self._disconnect()
        # Half the deadline, so that a lock is told from a hanging disk.
        self._connection = connection = sqlite3.connect(
            self._config.path, timeout=self._config.timeout / 2, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # A receipt is a promise that holds through a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        self._make_tables(connection)
        self._fields = {
            (policy, measurement, name): kind
            for policy, measurement, name, kind in connection.execute("SELECT * FROM field")
        }
        self._inode = _inode(self._config.path)
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            self._disconnect()
            raise self._unavailable("opening", f"schema {version} is of a newer collector")
        # Also where nothing is to be made: this proves that the file can be written.
        connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _write(self, rows: Sequence[Row]) -> list[Rejection]:
        connection = self._connect()
        now = int(self._now_seconds())
        rejections: list[Rejection] = []
        fresh: dict[_Field, str] = {}
        packed: list[tuple[object, ...]] = []
        points: list[tuple[str, str, str, int, str]] = []
        parts = ((index, one) for index, whole in enumerate(rows) for one in singles(whole))
        for index, row in parts:
            try:
                self._encoder.line(row)
                if isinstance(row, Readings):
                    row = row.point()  # noqa: PLW2901 - the same point
                if row.start_seconds < now - POLICY_DAYS[row.policy] * DAY_SECONDS:
                    reason = f"{row.policy} keeps {POLICY_DAYS[row.policy]} days"
                    rejections.append(Rejection(index, reason, too_old=True))
                    continue
                self._refuse_type_conflict(row, fresh)
            except ValueError as error:
                rejections.append(Rejection(index, str(error)))
                continue
            if isinstance(row, PackedRow):
                packed.append(astuple(row))
            else:
                points.append(_point(row))
        connection.execute("BEGIN IMMEDIATE")
        self._forget(connection, now, max(1000, 2 * len(rows)))
        connection.executemany(PUT_PACKED, packed)
        connection.executemany(PUT_POINT, points)
        connection.executemany(PUT_FIELD, [(*field, kind) for field, kind in fresh.items()])
        connection.execute("COMMIT")
        self._fields |= fresh
        return rejections

    def _refuse_type_conflict(self, row: PackedRow | Point, fresh: dict[_Field, str]) -> None:
        """Note the types of fields seen for the first time; raise where one has another type."""
        values = {"row": row.row} if isinstance(row, PackedRow) else row.fields
        seen = {}
        for name, value in values.items():
            field = (row.policy, row.measurement, name)
            kind = type(value).__name__
            known = self._fields.get(field) or fresh.get(field)
            if known is None:
                seen[field] = kind
            elif known != kind:
                raise ValueError(f"field {name} of {row.measurement} is {known}, not {kind}")
        if seen:
            fresh |= seen

    def _forget(self, connection: sqlite3.Connection, now: int, rows: int) -> None:
        """Delete at most so many rows of each kind that their policy no longer keeps."""
        for policy, measurement in {field[:2] for field in self._fields}:
            oldest = now - POLICY_DAYS[policy] * DAY_SECONDS
            for statement in FORGET:
                connection.execute(statement, (policy, measurement, oldest, rows))

    def _unavailable(self, what: str, reason: str) -> StoreUnavailableError:
        text = f"{what} in {self._config.path}: {reason}"
        return StoreUnavailableError(text, trouble=reason)


def _look_at(future: asyncio.Future[T]) -> None:
    # One whose caller gave up would else be complained about.
    if not future.cancelled():
        future.exception()


def _point(row: Point) -> tuple[str, str, str, int, str]:
    tags = _ENCODER.encode(sorted(row.tags)).decode()
    fields = _ENCODER.encode(row.fields).decode()
    return row.policy, row.measurement, tags, row.start_seconds, fields


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - not for a path that is ":memory:"
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _trouble(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    advice = next((text for start, text in _ADVICE.items() if name.startswith(start)), "")
    return f"{error}{advice}"
