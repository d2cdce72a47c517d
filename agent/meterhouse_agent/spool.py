"""The durable queue of reports without a receipt: SQLite on one thread of its own.

Bounded by bytes: the oldest reports are dropped, and counted. A report and the readings it was
made from are committed together, so that a killed agent goes on exactly where its last report
ended. Reports refused for good are set aside in a small table, oldest dropped first.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from meterhouse_agent.accumulate.amount import KeptReading
from meterhouse_agent.wire import Span

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)
# Made before there are threads: msgspec 0.22 lets a second thread use what it knows of a type while
# a first is still finding it out, and dies of it. One process may open many spools at once.
_READINGS: Final = msgspec.json.Decoder(list[KeptReading])
_SPANS: Final = msgspec.json.Decoder(tuple[Span, ...])
_DEADLINE_SECONDS: Final = 30.0
_REFUSED_KEPT: Final = 1000
_PASSING: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_REFUSED_SHARE: Final = 8
_INVENTORIES_KEPT: Final = 64
# "MTHR", and the number of the schema below: whose file this is, where SQLite itself asks.
_APPLICATION: Final = 0x4D544852
_VERSION: Final = 1
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE report
    (start_seconds INTEGER PRIMARY KEY, size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX report_size ON report (size);
CREATE TABLE refused
    (start_seconds INTEGER PRIMARY KEY, size INTEGER NOT NULL, body BLOB NOT NULL,
     reason TEXT NOT NULL);
CREATE TABLE inventory (hash TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL);
COMMIT;
"""


class SpoolError(Exception):
    """The spool could not be read or written; the text says which file and why."""


class Spooled(NamedTuple):
    """One report as it waits."""

    start_seconds: int
    body: bytes


class Standing(NamedTuple):
    """Where the time of a life stands, its counters, and the spans that it has not reported."""

    closed_until_seconds: int
    readings: list[KeptReading]
    spans: tuple[Span, ...] = ()


def spool_path(directory: Path, node: str) -> Path:
    """Return where the spool of a node lies."""
    return directory / f"{node}.spool"


class Spool:
    """The spool of one node."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"spool-{path.stem}")
        self._database: sqlite3.Connection | None = None
        self._inventory_kept = ""
        self.reports = 0
        self.bytes = 0
        self.oldest_seconds: int | None = None
        self.dropped: Tally[str] = Tally()

    @property
    def is_half_empty(self) -> bool:
        """Whether at most half of the bytes it may hold are used."""
        return self.bytes * 2 <= self._max_bytes

    async def open(self) -> Standing:
        """Open or make the file; a damaged one is set aside and a new one begun."""
        return await self._do(self._open)

    async def commit(
        self,
        reports: Sequence[Spooled],
        standing: Standing,
        inventories: Mapping[str, bytes],
    ) -> None:
        """Write reports, and where time and counters stood at their end, in one transaction."""
        await self._do(lambda: self._commit(reports, standing, inventories))

    async def forget(self, ranges: Iterable[tuple[int, int]], step_seconds: int) -> None:
        """Delete the reports that a receipt names, by inclusive ranges of starts, a step apart."""
        await self._do(lambda: self._forget(list(ranges), step_seconds))

    async def set_aside(self, refused: Iterable[tuple[int, str]]) -> None:
        """Move reports that were refused for good out of the queue, each with its reason."""
        await self._do(lambda: self._set_aside(list(refused)))

    async def oldest(self, count: int, *, skip: Iterable[int]) -> list[Spooled]:
        """Return the oldest reports but for those to skip."""
        return await self._do(lambda: self._oldest(count, set(skip)))

    async def inventory(self, name: str) -> bytes | None:
        """Return an inventory by its hash, also one of long ago."""
        return await self._do(lambda: self._inventory(name))

    async def resend(self) -> int:
        """Put every refused report back in the queue; return how many."""
        return await self._do(self._resend)

    async def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(SpoolError):
            await self._do(self._close)
        self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                return await loop.run_in_executor(self._thread, self._attempt, work)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            raise SpoolError(f"spool {self._path}: {error or 'did not answer'}") from error

    def _attempt(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            # A full or busy disk passes; after anything else the file is to be looked at anew.
            if getattr(error, "sqlite_errorcode", None) not in _PASSING:
                with contextlib.suppress(sqlite3.Error):
                    self._close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether the file is open; an error other than a full disk closes it."""
        return self._database is not None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.ProgrammingError("not open")
        return self._database

    def _open(self) -> Standing:
        self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._close()
            # One place, so that a disk that damages file after file is not filled with them.
            aside = self._path.with_suffix(".damaged")
            _LOG.error("spool %s: %s; moved to %s and begun anew", self._path, error, aside)
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").replace(f"{aside}{suffix}")
            self.dropped["spool_damaged"] += 1
            return self._connect()

    def _connect(self) -> Standing:
        self._inventory_kept = ""
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        new = self._is_new()
        self._db.execute("PRAGMA journal_mode=WAL")
        # A node that loses power must not forget a report that was sent: its next life would
        # tell the same energy again, as a span.
        self._db.execute("PRAGMA synchronous=FULL")
        if new:
            self._db.executescript(_SCHEMA)
        if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        self._measure()
        closed = self._state("closed_until_seconds")
        kept, spans = self._state("readings"), self._state("spans")
        return Standing(
            int(closed) if closed is not None else 0,
            _READINGS.decode(kept) if kept is not None else [],
            _SPANS.decode(spans) if spans is not None else (),
        )

    def _is_new(self) -> bool:
        """Tell whether the file is empty; raise if it is another program's or version's."""
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if tables and (application, version) != (_APPLICATION, _VERSION):
            raise sqlite3.DatabaseError("not a spool of this version")
        return not tables

    def _state(self, key: str) -> bytes | None:
        found = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def _measure(self) -> None:
        # From the index alone: the bodies of a full spool would be read from disk.
        self.reports, self.bytes, self.oldest_seconds = self._db.execute(
            "SELECT count(*), coalesce(sum(size), 0), min(start_seconds) FROM report"
        ).fetchone()

    def _commit(
        self,
        reports: Sequence[Spooled],
        standing: Standing,
        inventories: Mapping[str, bytes],
    ) -> None:
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO report VALUES (?, ?, ?)",
                [(start, len(body), body) for start, body in reports],
            )
            for name, body in inventories.items():
                self._keep_inventory(name, body)
            self._db.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)",
                [
                    ("closed_until_seconds", str(standing.closed_until_seconds).encode()),
                    ("readings", msgspec.json.encode(standing.readings)),
                    ("spans", msgspec.json.encode(standing.spans)),
                ],
            )
        self._measure()
        self._shrink()

    def _keep_inventory(self, name: str, body: bytes) -> None:
        if name == self._inventory_kept:
            return
        self._db.execute("INSERT OR REPLACE INTO inventory VALUES (?, ?)", (name, body))
        self._db.execute(
            "DELETE FROM inventory WHERE rowid NOT IN "
            "(SELECT rowid FROM inventory ORDER BY rowid DESC LIMIT ?)",
            (_INVENTORIES_KEPT,),
        )
        self._inventory_kept = name

    def _shrink(self) -> None:
        while self.bytes > self._max_bytes and self.reports > 1:
            excess = max(1, self.reports // 100)
            with self._transaction():
                gone = self._db.execute(
                    "DELETE FROM report WHERE start_seconds IN "
                    "(SELECT start_seconds FROM report ORDER BY start_seconds LIMIT ?)",
                    (excess,),
                ).rowcount
            self.dropped["spool_full"] += gone
            self._measure()

    def _forget(self, ranges: list[tuple[int, int]], step_seconds: int) -> None:
        # Reports of an earlier grid lie between the steps: no receipt speaks of those.
        with self._transaction():
            self._db.executemany(
                "DELETE FROM report "
                "WHERE start_seconds BETWEEN ?1 AND ?2 AND (start_seconds - ?1) % ?3 = 0",
                [(first, last, step_seconds) for first, last in ranges],
            )
        self._measure()

    def _set_aside(self, refused: list[tuple[int, str]]) -> None:
        with self._transaction():
            for start, reason in refused:
                self._db.execute(
                    "INSERT OR REPLACE INTO refused SELECT start_seconds, size, body, ? "
                    "FROM report WHERE start_seconds = ?",
                    (reason, start),
                )
                self._db.execute("DELETE FROM report WHERE start_seconds = ?", (start,))
            gone = self._db.execute(
                "DELETE FROM refused WHERE start_seconds NOT IN (SELECT start_seconds FROM "
                "(SELECT start_seconds, sum(size) OVER newest AS total, "
                "row_number() OVER newest AS place FROM refused "
                "WINDOW newest AS (ORDER BY start_seconds DESC)) "
                "WHERE total <= ? AND place <= ?)",
                (self._max_bytes // _REFUSED_SHARE, _REFUSED_KEPT),
            ).rowcount
        self.dropped["refused_full"] += gone
        self._measure()

    def _oldest(self, count: int, skip: set[int]) -> list[Spooled]:
        rows = self._db.execute(
            "SELECT start_seconds, body FROM report ORDER BY start_seconds LIMIT ?",
            (count + len(skip),),
        )
        found = [Spooled(start, body) for start, body in rows if start not in skip]
        return found[:count]

    def _inventory(self, name: str) -> bytes | None:
        found = self._db.execute("SELECT body FROM inventory WHERE hash = ?", (name,)).fetchone()
        return None if found is None else bytes(found[0])

    def _resend(self) -> int:
        with self._transaction():
            moved = self._db.execute(
                "INSERT OR IGNORE INTO report SELECT start_seconds, size, body FROM refused"
            ).rowcount
            self._db.execute("DELETE FROM refused")
        self._measure()
        return moved

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
