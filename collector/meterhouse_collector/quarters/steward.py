"""The steward: sums each quarter once its rows are there, and again where late ones came.

First the quarter that ended last, then marks, then quarters that were slept through, the oldest
first; between the steps it rests as long as it worked, so that what is live goes first.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from meterhouse_collector.quarters.marks import Mark, is_ripe, read_marks
from meterhouse_collector.quarters.settle import Settled, Settlement, done_quarters
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
# From the time at which rows get marks until the last write without one is over.
_MARGIN_SECONDS: Final = 60.0
_TICK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 15.0
_REST: Final = 1.0
# So much is settled at once: more would share more of the reading, but end later.
_QUARTERS_AT_ONCE: Final = 8
_MARKED_AT_ONCE: Final = 32
_MARKS_AT_ONCE: Final = 10_000
_DAY_SECONDS: Final = 86_400
_KEPT_SECONDS: Final = POLICY_DAYS["ledger"] * _DAY_SECONDS
_LEDGER: Final = ("node", "meter", "engine", "span")


async def _nobody(_: Sequence[Record]) -> None:
    """Hear what was settled, and do nothing of it."""


class Steward:
    """Keeps the quarters of one site true to the ledger, for as long as the ledger is kept."""

    def __init__(
        self,
        store: Store,
        index: SiteIndex,
        telemetry: Telemetry,
        *,
        held_seconds: float,
        clock: Callable[[], float] = time.time,
        rest: float = _REST,
        told: Callable[[Sequence[Record]], Awaitable[None]] = _nobody,
    ) -> None:
        self._store = store
        self._index = index
        self._telemetry = telemetry
        self._settle_after = held_seconds + _MARGIN_SECONDS
        self._clock = clock
        self._rest = rest
        self._records_told = told
        self._done: set[int] | None = None
        self._first = 0
        self._marked: dict[int, int] = {}
        self._begun: set[int] = set()
        self._set_aside: set[int] = set()
        self._told: set[str] = set()
        self._looked_for_marks = True

    def changed(self, quarters: Iterable[int]) -> None:
        """Take the writer's word that marks of these quarters were written."""
        for quarter in quarters:
            # A spool may bring what was measured before anything else was known.
            self._first = min(self._first, quarter)
            self._marked[quarter] = self._marked.get(quarter, 0) + 1

    def look_for_marks(self) -> None:
        """Have all marks read again: an intake ended, and may have told nobody of its last."""
        self._looked_for_marks = False

    def may_have_summed(self, at_seconds: int) -> bool:
        """Tell whether the quarter of a time was summed, or is just now, or that is not known yet.

        Where the clock was ahead for a while, that is so of quarters whose rows still come in time.
        """
        quarter = at_seconds - at_seconds % QUARTER
        return self._done is None or quarter in self._done or quarter in self._begun

    async def run(self) -> None:
        """Settle until cancelled."""
        trouble = ""
        while True:
            wait = _TICK_SECONDS
            try:
                if await self.step():
                    wait = 0.0
                trouble = ""
            except StoreUnavailableError as error:
                if error.trouble != trouble:
                    _LOG.warning("quarters wait for the store: %s", error)
                trouble, wait = error.trouble, _RETRY_SECONDS
            except Exception:  # noqa: BLE001 - what is measured goes on without sums
                self._telemetry.bug("steward")
                wait = _RETRY_SECONDS
            await asyncio.sleep(wait)

    async def step(self) -> bool:
        """Do the next thing that is due; tell whether there was one.

        Raises ``StoreUnavailableError``; whatever was cut off is done again.
        """
        if self._done is None:
            await self._look_back()
            await self._records_told(())
        elif not self._looked_for_marks:
            await self._look_for_open_marks(self._oldest_kept(), self._last_due() + QUARTER)
        due = self._due()
        self._telemetry.quarters_behind.set(len(due))
        newest = [quarter for quarter in due[-1:] if quarter == self._last_due()]
        if newest:
            await self._settle(newest)
            return True
        if await self._work_marks():
            return True
        if due:
            await self._settle(due[:_QUARTERS_AT_ONCE])
        return bool(due)

    async def _look_back(self) -> None:
        """Find where an earlier life stopped: quarters that are not done, marks that are open."""
        site = self._index.site
        first = self._oldest_kept()
        last = self._last_due() + QUARTER
        done = await done_quarters(self._store, site, first, last)
        known = [await self._store.oldest("ledger", measurement) for measurement in _LEDGER]
        known.append(await self._store.oldest("kept", "quarter"))
        begun = [start // QUARTER * QUARTER for start in known if start is not None]
        await self._look_for_open_marks(first, last)
        self._first = max(first, min(begun, default=last))
        self._done = done
        self._note_done()
        due = self._due()
        if due:
            _LOG.info("%d quarters to sum since %d", len(due), due[0])

    async def _look_for_open_marks(self, first: int, last: int) -> None:
        site = self._index.site
        for begins in range(first, last, _DAY_SECONDS):
            marks = await read_marks(self._store, site, begins, min(begins + _DAY_SECONDS, last))
            for mark in marks:
                if mark.open:
                    self._marked[mark.quarter] = self._marked.get(mark.quarter, 0) + 1
        self._looked_for_marks = True

    def _oldest_kept(self) -> int:
        """Return the first quarter of which the ledger surely still has all rows."""
        return (int(self._clock() - _KEPT_SECONDS) // QUARTER + 2) * QUARTER

    def _last_due(self) -> int:
        return (int(self._clock() - self._settle_after) // QUARTER - 1) * QUARTER

    def _due(self) -> list[int]:
        done = (self._done or set()) | self._set_aside
        first = max(self._first, self._oldest_kept())
        return [q for q in range(first, self._last_due() + 1, QUARTER) if q not in done]

    async def _work_marks(self) -> bool:
        """Work off marks that are ripe, gathered over some quarters."""
        done, first = self._done or set(), self._oldest_kept()
        for quarter in [q for q in self._marked if q < first]:
            del self._marked[quarter]
        wanted = sorted(q for q in self._marked if q in done)[:_MARKED_AT_ONCE]
        ripe: list[Mark] = []
        counts = {quarter: self._marked.pop(quarter) for quarter in wanted}
        try:
            for quarter in wanted:
                if len(ripe) >= _MARKS_AT_ONCE:
                    break
                now = self._clock()
                marks = await read_marks(self._store, self._index.site, quarter, quarter + QUARTER)
                still = [mark for mark in marks if mark.open]
                ripe += [mark for mark in still if is_ripe(mark, now)]
                counts[quarter] = sum(not is_ripe(mark, now) for mark in still)
            if ripe:
                await self._worked(Settlement(self._store, self._index, rest=self._rest), ripe)
        except StoreUnavailableError:
            counts = dict.fromkeys(wanted, 1)
            raise
        finally:
            for quarter, count in counts.items():
                if count:
                    self._marked[quarter] = self._marked.get(quarter, 0) + count
            self._telemetry.dirty_marks.set(sum(n for q, n in self._marked.items() if q in done))
        return bool(ripe)

    async def _worked(self, settlement: Settlement, marks: list[Mark]) -> None:
        try:
            await self._tell(await settlement.marks(marks))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - marks that cannot be worked off stay open, others go on
            self._telemetry.bug("steward")

    async def _settle(self, quarters: list[int]) -> None:
        self._begun.update(quarters)
        settlement = Settlement(self._store, self._index, rest=self._rest, clock=self._clock)
        try:
            await self._tell(await settlement.quarters(quarters))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - one quarter must not end all others
            self._telemetry.bug("steward")
            if len(quarters) == 1:
                self._set_aside.update(quarters)
            else:
                for quarter in quarters:
                    await self._settle([quarter])
            return
        if self._done is not None:
            self._done.update(quarters)
        self._note_done()

    def _note_done(self) -> None:
        if self._done:
            self._telemetry.last_quarter.set(max(self._done))

    async def _tell(self, settled: Settled) -> None:
        """Count what was left out, and say once of each kind that there was some."""
        await self._records_told(settled.records)
        self._telemetry.unknown_spans.inc(settled.unknown_spans)
        self._telemetry.unread_rows.inc(settled.unread)
        if settled.unread and self._first_of("unread"):
            _LOG.warning(
                "%d rows of the ledger cannot be read, and are left out of quarters; "
                "more are only counted",
                settled.unread,
            )
        if settled.unknown_spans and self._first_of("spans"):
            _LOG.warning(
                "%d spans have a quantity that no quarter sums; more are only counted",
                settled.unknown_spans,
            )
        if settled.refused and self._first_of("refused"):
            _LOG.warning(
                "%d rows of quarters were refused by the store: %s; more are only counted",
                settled.refused,
                settled.refusal,
            )

    def _first_of(self, kind: str) -> bool:
        first = kind not in self._told
        self._told.add(kind)
        return first
