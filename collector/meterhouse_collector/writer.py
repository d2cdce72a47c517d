"""Entries into the store, and receipts for those that are there."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from meterhouse_collector.ledger import Entry
from meterhouse_collector.receipts import Address, Receipts
from meterhouse_collector.rows import Row
from meterhouse_collector.store import Rejection, Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_ENTRIES_MAX: Final = 20_000
_ENTRIES_RESUME: Final = 10_000
_ROWS_MAX: Final = 100_000
_BATCH_ENTRIES: Final = 2_000
_BATCH_ROWS: Final = 5_000
_RETRY_SECONDS: Final = (0.5, 15.0)


class Writer:
    """Writes in batches of its own, and holds on to what the store has not confirmed.

    Bounded: when it is full nothing more is accepted and reading stops; agents send again what has
    no receipt.
    """

    def __init__(
        self,
        store: Store,
        receipts: Receipts,
        telemetry: Telemetry,
        *,
        flush_every_seconds: float,
        send: Callable[[str, bytes], None],
        flow: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._telemetry = telemetry
        self._flush_every = flush_every_seconds
        self._send = send
        self._flow = flow
        self._entries: deque[Entry] = deque()
        self._rows: deque[Row] = deque()
        self._paused = False
        self._up: bool | None = None

    def accept(self, entry: Entry) -> bool:
        """Take an entry, unless there is no room."""
        if len(self._entries) >= _ENTRIES_MAX:
            self._pause()
            return False
        self._entries.append(entry)
        return True

    def write(self, row: Row) -> None:
        """Take a row that no receipt hangs on; without room the oldest goes, and is counted."""
        if len(self._rows) >= _ROWS_MAX:
            self._rows.popleft()
            self._telemetry.dropped.labels("rows_full").inc()
        self._rows.append(row)

    @property
    def room(self) -> int:
        """How many more entries can be held."""
        return max(0, _ENTRIES_RESUME - len(self._entries)) if self._up else 0

    async def run(self) -> None:
        """Write and send receipts until cancelled."""
        wait, longest = _RETRY_SECONDS
        while True:
            full = len(self._entries) >= _BATCH_ENTRIES
            await asyncio.sleep(0 if full and self._up else self._flush_every)
            try:
                await self._flush()
                wait = _RETRY_SECONDS[0]
            except StoreUnavailableError as error:
                self._turn(up=False, text=str(error))
                await asyncio.sleep(wait)
                wait = min(longest, wait * 2)
            self._telemetry.pending.set(len(self._entries))
            self._say()

    async def drain(self, deadline_seconds: float) -> None:
        """Write what is held, at the end."""
        try:
            async with asyncio.timeout(deadline_seconds):
                while self._entries or self._rows:
                    await self._flush()
        except (StoreUnavailableError, TimeoutError) as error:
            _LOG.warning(
                "%d reports not written; their agents keep them: %s", len(self._entries), error
            )
        self._say(everything=True)

    async def _flush(self) -> None:
        entries = list(islice(self._entries, _BATCH_ENTRIES))
        loose = list(islice(self._rows, _BATCH_ROWS))
        if not entries and not loose:
            return
        rows = [row for entry in entries for row in entry.rows]
        owners = [number for number, entry in enumerate(entries) for _ in entry.rows]
        rejections = await self._store.write([*rows, *loose])
        self._turn(up=True, text="")
        for _ in entries:
            self._entries.popleft()
        for _ in loose:
            self._rows.popleft()
        self._settle(entries, owners, rejections, [*rows, *loose])
        if self._paused and len(self._entries) <= _ENTRIES_RESUME:
            self._paused = False
            self._flow(True)  # noqa: FBT003 - on or off
            _LOG.info("reading again")

    def _settle(
        self,
        entries: Sequence[Entry],
        owners: Sequence[int],
        rejections: Sequence[Rejection],
        rows: Sequence[Row],
    ) -> None:
        refused: dict[int, Rejection] = {}
        for rejection in rejections:
            row = rows[rejection.index]
            self._telemetry.rejected.labels(row.policy).inc()
            _LOG.warning("the store refused a row of %s: %s", row.measurement, rejection.reason)
            # Without its detail a report is still in the ledger.
            if rejection.index < len(owners) and row.policy == "ledger":
                refused[owners[rejection.index]] = rejection
        for number, entry in enumerate(entries):
            address = Address(entry.site, entry.node)
            refusal = refused.get(number)
            if refusal is None:
                self._receipts.stored(address, entry.start_seconds)
            else:
                reason = "too_old" if refusal.too_old else "rejected_by_store"
                self._telemetry.refused.labels(reason, "true").inc()
                self._receipts.refused(address, entry.start_seconds, reason, final=True)
        for policy, count in Tally(row.policy for row in rows).items():
            self._telemetry.rows.labels(policy).inc(count)

    def _turn(self, *, up: bool, text: str) -> None:
        if up == self._up:
            return
        if not up:
            _LOG.error("store: %s; %d reports wait", text, len(self._entries))
        elif self._up is not None:
            _LOG.info("store: takes rows again")
        self._up = up
        self._telemetry.store_up.set(1 if up else 0)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._flow(False)  # noqa: FBT003 - on or off
            _LOG.warning("%d reports wait for the store: reading stops", len(self._entries))

    def _say(self, *, everything: bool = False) -> None:
        now = float("inf") if everything else time.monotonic()
        self._telemetry.waiting.set(self._receipts.total_waiting)
        for topic, payload in self._receipts.take(now, room=self.room):
            self._send(topic, payload)
            self._telemetry.receipts.inc()
