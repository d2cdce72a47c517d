"""Brings each report into the spool before it is sent, and keeps it in memory while it cannot."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from meterhouse_agent.spool import Spool, Spooled, SpoolError, Standing
from meterhouse_agent.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_MEMORY_BYTES: Final = 16 * 1024 * 1024
_RETRY_SECONDS: Final = 10.0


class Keeper:
    """Stands between the making of reports and their sending, so that a slow disk delays neither.

    A report is sent only after it and the readings it was made from are on the disk: else an agent
    killed in between would tell the same energy again, as a span. Only while the spool cannot be
    written are reports sent from memory, which is bounded.
    """

    def __init__(
        self, node: str, spool: Spool, telemetry: Telemetry, *, send: Callable[[Spooled], None]
    ) -> None:
        self._node = node
        self._spool = spool
        self._telemetry = telemetry
        self._send = send
        self._added = asyncio.Event()
        self._unsent: deque[Spooled] = deque()
        self._unwritten: deque[Spooled] = deque()
        self._inventories: dict[str, bytes] = {}
        self._standing = Standing(0, [])
        self._failed = False
        self._dropping: set[str] = set()
        telemetry.spool_reports.set_function(lambda: spool.reports)
        telemetry.spool_bytes.set_function(lambda: spool.bytes)

    async def open(self) -> Standing:
        """Open the spool; return where an earlier life stood, nothing if it cannot be read."""
        try:
            standing = await self._spool.open()
        except SpoolError as error:
            self._fail(error)
            return Standing(0, [])
        self._count_dropped()
        if self._spool.reports:
            _LOG.info("%s: %d reports wait in the spool", self._node, self._spool.reports)
        return standing

    def add(self, report: Spooled, standing: Standing, inventory: tuple[str, bytes]) -> None:
        """Take a report that was made just now, and where time and counters stood at its end."""
        self._unsent.append(report)
        self._unwritten.append(report)
        self._standing = standing
        self._inventories[inventory[0]] = inventory[1]
        self._added.set()

    async def run(self) -> None:
        """Write and send what is added, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS if self._unwritten else None):
                    await self._added.wait()
            self._added.clear()
            # Only these: what is added while they are written is not on the disk yet.
            count = len(self._unsent)
            if not self._failed:
                await self._write()
                self._send_first(count)
            else:
                self._send_first(count)
                await self._write()

    def _send_first(self, count: int) -> None:
        for _ in range(count):
            self._send(self._unsent.popleft())

    async def _write(self) -> None:
        reports, standing = list(self._unwritten), self._standing
        inventories = dict(self._inventories)
        if not reports:
            return
        try:
            if not self._spool.is_open:
                await self._spool.open()
            await self._spool.commit(reports, standing, inventories)
        except SpoolError as error:
            self._fail(error)
            self._bound()
            return
        for _ in reports:
            self._unwritten.popleft()
        if not self._unwritten:
            self._inventories.clear()
        if self._failed:
            _LOG.info("%s: the spool is written again", self._node)
        self._failed = False
        self._count_dropped()

    def _fail(self, error: SpoolError) -> None:
        if not self._failed:
            _LOG.error("%s; reports are kept in memory until it can be written", error)
        self._failed = True

    def _bound(self) -> None:
        size = sum(len(report.body) for report in self._unwritten)
        while size > _MEMORY_BYTES:
            size -= len(self._unwritten.popleft().body)
            self._telemetry.dropped("spool_unwritable")

    def _count_dropped(self) -> None:
        for reason, count in (+self._spool.dropped).items():
            if reason not in self._dropping:
                _LOG.warning("%s: reports are dropped, oldest first: %s", self._node, reason)
                self._dropping.add(reason)
            self._telemetry.dropped(reason, count)
        self._spool.dropped.clear()
        # A full spool drops one report for each that is made: it is said once, until there is room.
        if self._dropping and self._spool.is_half_empty:
            _LOG.info("%s: the spool has room again", self._node)
            self._dropping.clear()
