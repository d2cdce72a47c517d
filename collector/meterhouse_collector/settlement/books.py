"""The books of a site: which figures stand for a window, and what a close puts there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from meterhouse_collector.money.billing_month import QUARTER_SECONDS, billing_month
from meterhouse_collector.quarters.marks import read_marks
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.settlement.account import Account, Adjustment, Closing, account
from meterhouse_collector.settlement.allocation import days
from meterhouse_collector.settlement.closing import (
    Head,
    differences,
    read_frozen,
    read_heads,
    write_frozen,
)
from meterhouse_collector.settlement.periods import Period, local_text
from meterhouse_collector.settlement.reading import (
    Progress,
    read_ledger_hash,
    read_sources,
    silent,
)
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

# What a bill is made of is kept so long; afterwards a closed period is final.
_COMPARED_SECONDS: Final = POLICY_DAYS["quarter"] * 86_400


class NotClosableError(Exception):
    """Why a period cannot be closed, in one line."""


@dataclass(frozen=True, slots=True)
class Books:
    """A store, the site model of today, and the clock that says what is over."""

    store: Store
    index: SiteIndex
    now_seconds: float
    progress: Progress = silent

    async def account(self, window: tuple[int, int], *, recomputed: bool = False) -> Account:
        """Return what stands for a window: the frozen figures of a closed period, else today's.

        A window that begins where the last closed period ends carries the adjustments of those
        before it. With ``recomputed`` it is always today's, and nothing is carried.
        """
        heads = await read_heads(self.store, self.index.site)
        if recomputed:
            return await self._today(window)
        for head in heads:
            if head.window == window:
                return await read_frozen(self.store, self.index.site, head)
        found = await self._today(window)
        if heads and window[0] == heads[-1].ends_seconds:
            return await self._carrying(found, heads)
        closed = [
            h.period for h in heads if h.begins_seconds < window[1] and h.ends_seconds > window[0]
        ]
        if closed:
            note = f"computed today, though closed: {', '.join(closed)}"
            return msgspec.structs.replace(found, notes=(*found.notes, note))
        return found

    async def close(self, period: Period) -> Account:
        """Freeze a period under the next number; raise ``NotClosableError`` where it cannot be."""
        heads = await read_heads(self.store, self.index.site)
        self._refuse_closed(period, heads)
        await self._refuse_skipping(period, heads)
        await self._refuse_open(period)
        found = await self._carrying(await self._today(period.window), heads)
        closing = Closing(
            number=1 + max((head.number for head in heads), default=0),
            period=period.name,
            closed_at_seconds=int(self.now_seconds),
            ledger_hash=await read_ledger_hash(
                self.store, self.index, period.window, self.progress
            ),
        )
        frozen = msgspec.structs.replace(found, closing=closing)
        await write_frozen(self.store, frozen)
        return frozen

    async def _today(self, window: tuple[int, int]) -> Account:
        sources = await read_sources(self.store, self.index, window, self.progress)
        return account(self.index, window, sources)

    async def _carrying(self, found: Account, heads: Sequence[Head]) -> Account:
        """Return an account with what closed periods differ by, as far as no other carries it."""
        oldest = self.now_seconds - _COMPARED_SECONDS
        compared = [head for head in heads if head.begins_seconds >= oldest]
        frozen = [await read_frozen(self.store, self.index.site, head) for head in compared]
        made = [adjustment for each in frozen for adjustment in each.adjustments]
        carried: list[Adjustment] = []
        reasons: list[str] = []
        for head, before in zip(compared, frozen, strict=True):
            if before.currency != found.currency:
                reasons.append(f"{head.period}: closed in {before.currency}, not {found.currency}")
                continue
            now = await self._today(head.window)
            carried += differences(before, made, now.lines)
            reasons += [f"{head.period}: {r}" for r in now.reasons if r not in before.reasons]
        return msgspec.structs.replace(
            found, adjustments=tuple(carried), reasons=(*found.reasons, *reasons)
        )

    def _refuse_closed(self, period: Period, heads: Sequence[Head]) -> None:
        zone = ZoneInfo(self.index.model.time_zone)
        for head in heads:
            if head.begins_seconds < period.ends and head.ends_seconds > period.begins:
                what = f"statement {head.number} of {head.period}"
                raise NotClosableError(f"{period.name} is closed already, by {what}")
        if heads and period.begins < heads[-1].ends_seconds:
            first, last = (
                local_text(at, zone) for at in (heads[0].begins_seconds, heads[-1].ends_seconds)
            )
            raise NotClosableError(
                f"{period.name} is over before {last}, until when periods from {first} on are"
                " closed: they are closed in order"
            )
        if period.ends > self.now_seconds:
            raise NotClosableError(f"{period.name} is open until {local_text(period.ends, zone)}")

    async def _refuse_skipping(self, period: Period, heads: Sequence[Head]) -> None:
        """Refuse to leave out what could be closed: nothing before a closed period can be."""
        zone = ZoneInfo(self.index.model.time_zone)
        begins = heads[-1].ends_seconds if heads else period.begins
        while begins < period.begins:
            ends = min(period.begins, billing_month(begins, zone).ends)
            done = await read_records(self.store, self.index.site, begins, ends)
            if len(done) == (ends - begins) // QUARTER_SECONDS:
                raise NotClosableError(
                    f"{period.name} would leave out {local_text(begins, zone)} to"
                    f" {local_text(ends, zone)}, which is summed: close that first"
                )
            begins = ends

    async def _refuse_open(self, period: Period) -> None:
        zone = ZoneInfo(self.index.model.time_zone)
        done = await read_records(self.store, self.index.site, *period.window)
        quarters = range(*period.window, QUARTER_SECONDS)
        missing = [start for start in quarters if start not in done]
        if missing:
            raise NotClosableError(
                f"{period.name} is not summed: {len(missing)} of {len(quarters)} quarter hours are"
                f" missing, the first from {local_text(missing[0], zone)}"
            )
        for begins, ends in days(self.index, *period.window):
            marks = await read_marks(self.store, self.index.site, begins, ends)
            waiting = sum(mark.open for mark in marks)
            if waiting:
                raise NotClosableError(
                    f"{period.name} is not summed: {waiting} late rows of"
                    f" {local_text(begins, zone)[:10]} wait; the running collector sums them"
                )
