"""Entries into the store, and receipts for those that are there."""

import asyncio
import logging
import time
from bisect import bisect_right
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from meterhouse_collector.backlog import Backlog
from meterhouse_collector.held import HELD_BYTES, Held
from meterhouse_collector.ledger import Entry, late_marks
from meterhouse_collector.quarters.marks import stamp_marks
from meterhouse_collector.receipts import Address, Receipts
from meterhouse_collector.rows import PackedRow, Row, Table
from meterhouse_collector.store import Rejection, Store, StoreUnavailableError
from meterhouse_collector.store.apart import write_apart
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.ticks import tick, tick_or

_LOG: Final = logging.getLogger(__name__)
_RESUME_BYTES: Final = HELD_BYTES // 2
# So much is kept free for each report that an agent is asked for: more than one of eight devices
# takes with their detail.
_CREDIT_BYTES: Final = 4_096
_ROWS_MAX: Final = 100_000
_BATCH_ROWS: Final = 5_000
_RETRY_SECONDS: Final = (0.5, 15.0)
_SAY_SECONDS: Final = 0.5
# While nothing is held; what comes is written as soon as ever.
_IDLE_SECONDS: Final = 1.0
_TELL_AGAIN_SECONDS: Final = 3600.0


class Timing(NamedTuple):
    """How often rows are written, and after what time, by which clock, they are late.

    They are so in any case where their quarter may have been summed: the clock may have been ahead.
    """

    flush_every_seconds: float
    late_after_seconds: float
    clock: Callable[[], float] = time.time
    may_have_summed: Callable[[int], bool] = lambda _: False


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
        timing: Timing,
        send: Callable[[str, bytes], bool],
        flow: Callable[[bool], None],
        changed: Callable[[Iterable[int]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._telemetry = telemetry
        self._timing = timing
        self._send = send
        self._flow = flow
        self._changed = changed
        self._stamp = 0
        self._entries = Held()
        self._rows: deque[Row] = deque()
        self._paused = self._closed = self._idle = False
        self._came = asyncio.Event()
        self._up: bool | None = None
        self._trouble = ""
        self._said_at = float("-inf")
        self._told: dict[str, float] = {}
        self._backlog = Backlog()

    def accept(self, entry: Entry) -> bool:
        """Take an entry, unless there is no room."""
        if self._closed:
            return False
        if self._idle:
            self._wake()
        if self._entries.take(entry, fresh=entry.start_seconds >= self._late_before()):
            return True
        self._pause()
        return False

    def write(self, row: Row) -> None:
        """Take a row that no receipt hangs on; without room the oldest goes, and is counted."""
        if len(self._rows) >= _ROWS_MAX:
            self._rows.popleft()
            self._telemetry.dropped.labels("rows_full").inc()
        self._rows.append(row)
        if self._idle:
            self._wake()

    def _wake(self) -> None:
        self._idle = False
        self._came.set()

    @property
    def room(self) -> int:
        """How many more entries can be held."""
        left = _RESUME_BYTES - self._entries.size_bytes
        return max(0, left // _CREDIT_BYTES) if self._up else 0

    async def run(self) -> None:
        """Write and send receipts until cancelled."""
        wait, longest = _RETRY_SECONDS
        while True:
            await self._rest()
            try:
                await self._flush()
                wait = _RETRY_SECONDS[0]
            except StoreUnavailableError as error:
                self._turn(up=False, text=str(error), trouble=error.trouble)
            except Exception:  # noqa: BLE001 - a batch that cannot be written is held, like any other
                self._bug()
                self._turn(up=False, text="BUG: see above", trouble="bug")
            self._telemetry.pending.set(len(self._entries))
            self._say()
            if not self._up:
                await asyncio.sleep(wait)
                wait = min(longest, wait * 2)

    async def _rest(self) -> None:
        """Wait until it is time to write, or where nothing is held to look after receipts."""
        if not self._entries and not self._rows:
            self._idle = True
            self._came.clear()
            await tick_or(self._came, _IDLE_SECONDS)
            self._idle = False
        if self._entries.fills_a_batch and self._up:
            await asyncio.sleep(0)
        elif self._entries or self._rows:
            await tick(self._timing.flush_every_seconds)

    async def drain(self, deadline_seconds: float) -> None:
        """Accept nothing more, write what is held and send its receipts, at the end."""
        self._closed = True
        try:
            async with asyncio.timeout(deadline_seconds):
                while self._entries or self._rows:
                    await self._flush()
        except (StoreUnavailableError, TimeoutError) as error:
            _LOG.warning(
                "%d reports not written; their agents keep them: %s",
                len(self._entries),
                error or f"not in {deadline_seconds:g} s",
            )
        self._say(everything=True)

    def _late_before(self) -> float:
        return self._timing.clock() - self._timing.late_after_seconds

    async def _flush(self) -> None:
        entries = self._entries.batch()
        loose = [self._rows.popleft() for _ in range(min(_BATCH_ROWS, len(self._rows)))]
        if not entries and not loose:
            return
        # By now, not when it came: it may have waited long for the store.
        late = self._late(entries)
        rows: list[Row] = []
        # Of each entry, where its rows end.
        ends: list[int] = []
        for entry in entries:
            rows += entry.rows
            if entry.start_seconds in late:
                rows.extend(late_marks(entry))
            ends.append(len(rows))
        # A stamp of its own for each attempt, or a mark that came again could seem worked off.
        self._stamp = max(self._stamp + 1, int(self._timing.clock() * 1e9))
        marked = stamp_marks(rows, self._stamp)
        try:
            rejections = await write_apart(self._store, [*rows, *loose], self._bug)
        except BaseException:
            self._rows.extendleft(reversed(loose))
            raise
        self._turn(up=True)
        self._changed(marked)
        self._entries.written(entries)
        self._settle(entries, ends, rejections, [*rows, *loose])
        if self._paused and self._entries.size_bytes <= _RESUME_BYTES:
            self._paused = False
            self._flow(True)  # noqa: FBT003 - on or off
            _LOG.info("reading again")

    def _late(self, entries: Iterable[Entry]) -> set[int]:
        """Return the starts of entries whose quarter may have been summed."""
        before, may_have_summed = self._late_before(), self._timing.may_have_summed
        starts = {entry.start_seconds for entry in entries}
        return {start for start in starts if start < before or may_have_summed(start)}

    def _settle(
        self,
        entries: Sequence[Entry],
        ends: Sequence[int],
        rejections: Sequence[Rejection],
        rows: Sequence[Row],
    ) -> None:
        refused: dict[int, Rejection] = {}
        written = Tally([row.policy for row in rows])
        for rejection in rejections:
            row = rows[rejection.index]
            written[row.policy] -= 1
            self._telemetry.rejected.labels(row.policy).inc()
            self._tell(row, rejection)
            # Without its detail a report is still in the ledger, and so it is without a mark for
            # a quarter that the ledger no longer keeps.
            counts = row.policy == "ledger" and row.measurement != "dirty"
            owner = bisect_right(ends, rejection.index)
            if owner < len(ends) and counts:
                refused[owner] = rejection
        stored = self._receipts.stored
        for number, entry in enumerate(entries):
            refusal = refused.get(number) if refused else None
            if refusal is None:
                stored((entry.site, entry.node), entry.start_seconds)
            else:
                reason = "too_old" if refusal.too_old else "rejected_by_store"
                self._telemetry.refused.labels(reason, "true").inc()
                address = Address(entry.site, entry.node)
                self._receipts.refused(address, entry.start_seconds, reason, final=True)
        for policy, count in written.items():
            self._telemetry.rows.labels(policy).inc(count)

    def _bug(self) -> None:
        self._telemetry.bug("writer")

    def _tell(self, row: Row, rejection: Rejection) -> None:
        now = time.monotonic()
        if now - self._told.get(row.measurement, float("-inf")) < _TELL_AGAIN_SECONDS:
            return
        self._told[row.measurement] = now
        _LOG.warning(
            "the store refused a row, more of %s are only counted: %s: %s",
            row.measurement,
            _which(row),
            rejection.reason,
        )

    def _turn(self, *, up: bool, text: str = "", trouble: str = "") -> None:
        if not up and (self._up is not False or trouble != self._trouble):
            _LOG.error("store: %s; %d reports wait", text, len(self._entries))
        elif up and self._up is False:
            _LOG.info("store: takes rows again")
        self._up, self._trouble = up, trouble
        self._telemetry.store_up.set(1 if up else 0)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._flow(False)  # noqa: FBT003 - on or off
            _LOG.warning("%d reports wait for the store: reading stops", len(self._entries))

    def _say(self, *, everything: bool = False) -> None:
        now = time.monotonic()
        if now - self._said_at < _SAY_SECONDS and not everything:
            return
        self._said_at = now
        waiting, since = self._receipts.total_waiting, self._receipts.waiting_since_seconds
        self._telemetry.waiting.set(waiting)
        behind = self._backlog.note(waiting, since, now=self._timing.clock(), tick=now)
        self._telemetry.behind.set(behind)
        room = 0 if everything else self.room
        said = self._receipts.say(now, room=room, send=self._send, everything=everything)
        self._telemetry.receipts.inc(said)


def _which(row: Row) -> str:
    if isinstance(row, PackedRow):
        what = f"of {row.thing}"
    else:
        tags = row.series.tags[0] if isinstance(row, Table) else row.tags
        what = f"of {dict(tags)}"
    return f"{row.policy}/{row.measurement} {what} at {row.start_seconds}"
