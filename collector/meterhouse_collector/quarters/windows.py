"""Sums and KPIs over windows of hours to a year: from quarters, and live where those are not yet.

A quarter that nobody kept counts as silent, so that the coverage of a KPI falls with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.kpi.pue_label import YEAR_SECONDS
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.quarters.window_latency import window_observed
from meterhouse_collector.rollup.exact import Sum
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rollup.roll_up import add_sums, roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import Point
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store

_HOUR_SECONDS: Final = 3600
_DAY_SECONDS: Final = 86_400
_DAYS_HELD_MAX: Final = 400
# The running quarter, and those that ended and wait for late rows: what is further back without
# being kept was not collected, or not summed yet.
_LIVE_QUARTERS: Final = 3
# The last intervals of a window that ends now are not rolled up yet.
_ROLLED_SECONDS: Final = 120


Progress = Callable[[float, str], None]


class Stretch(NamedTuple):
    """A window, [start, end) in Unix seconds."""

    start_seconds: int
    end_seconds: int


def named_windows(now_seconds: float, index: SiteIndex) -> dict[str, Stretch]:
    """Return the windows that end now: an hour, a day, the month in site time, a trailing year.

    Each begins with a quarter, so an hour is up to a quarter longer.
    """
    end = int(now_seconds)
    local = datetime.fromtimestamp(end, ZoneInfo(index.model.time_zone))
    month = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    begins = {
        "hour": end - _HOUR_SECONDS,
        "day": end - _DAY_SECONDS,
        "month_to_date": int(month),
        "trailing_year": end - YEAR_SECONDS,
    }
    return {name: Stretch(start // QUARTER * QUARTER, end) for name, start in begins.items()}


def _silently(_: float, __: str) -> None:
    """Show no progress."""


async def window_sums(
    store: Store, index: SiteIndex, start_seconds: int, end_seconds: int
) -> dict[GroupKey, Sums]:
    """Return the sums of each group over a window that begins with a quarter.

    Its last quarters come from live sums where they are not kept yet. Raises ``ValueError`` where
    the window does not begin with a quarter, ``StoreUnavailableError`` where it cannot be read.
    """
    if start_seconds % QUARTER:
        raise ValueError(f"a window from {start_seconds}: it must begin with a quarter")
    window = Stretch(start_seconds, end_seconds)
    return (await _summed(store, index, window, _closed(end_seconds))).values()


def _closed(end_seconds: int) -> int:
    """Return until when a quarter that is not kept is taken to be silent."""
    return end_seconds // QUARTER * QUARTER - (_LIVE_QUARTERS - 1) * QUARTER


async def _summed(
    store: Store, index: SiteIndex, window: Stretch, closed: int, progress: Progress = _silently
) -> "_Groups":
    start_seconds, end_seconds = window
    sums, book = _Groups(), RateBook(index)
    kept: set[int] = set()
    days = 0
    async for points in _by_day(store, index, window):
        whole = [p for p in points if p.start_seconds + QUARTER <= end_seconds]
        sums.add((group_of(point.tags), sums_of(point)) for point in whole)
        kept.update(point.start_seconds for point in whole)
        days += 1
        progress(min(1.0, days * _DAY_SECONDS / (end_seconds - start_seconds)), "reading rollups")
    missing = [q for q in range(start_seconds, end_seconds, QUARTER) if q not in kept]
    ended = max(kept, default=start_seconds - QUARTER) + QUARTER
    live = max(ended, closed)
    if live < end_seconds:
        await _add_live(store, _Known(index, book), sums, Stretch(live, end_seconds))
    zone = ZoneInfo(index.model.time_zone)
    for stretch in _stretches((q for q in missing if q < live), zone):
        sums.add((await asyncio.to_thread(_silent, _Known(index, book), stretch)).items())
    return sums


class DaySums:
    """The sums of a whole site over days that are over: read once, until a quarter is re-stated.

    Who asks for a trailing year again and again holds one, and tells it of every quarter that the
    steward settled, as nothing else changes a kept rollup.
    """

    def __init__(self) -> None:
        self._days: dict[int, Sums] = {}
        self._changes = 0

    def changed(self, quarters: Iterable[int]) -> None:
        """Forget the days of quarters that were summed or priced again."""
        self._changes += 1
        for quarter in quarters:
            self._days.pop(quarter // _DAY_SECONDS * _DAY_SECONDS, None)

    async def of(self, store: Store, index: SiteIndex, day_seconds: int) -> Sums:
        """Return the sums of a day that is over; raise ``StoreUnavailableError``."""
        found = self._days.get(day_seconds)
        if found is None:
            before = self._changes
            ends = day_seconds + _DAY_SECONDS
            groups = await _summed(store, index, Stretch(day_seconds, ends), ends)
            found = groups.total()
            if before == self._changes:
                # What changed while it was read may be in it or not.
                self._days[day_seconds] = found
            if len(self._days) > _DAYS_HELD_MAX:
                del self._days[min(self._days)]
        return found


async def window_kpis(
    store: Store,
    index: SiteIndex,
    window: Stretch,
    days: DaySums | None = None,
    progress: Progress = _silently,
) -> dict[str, KpiValue]:
    """Return the KPIs of the whole site over a window; ``days`` hold what was read before.

    Without them ``progress`` hears which share of the window is read.

    Raises ``ValueError`` and ``StoreUnavailableError`` as ``window_sums`` does.
    """
    since = window.start_seconds
    if since % QUARTER:
        raise ValueError(f"a window from {since}: it must begin with a quarter")
    if days is None:
        groups = await _summed(store, index, window, _closed(window.end_seconds), progress)
        return await _kpis(store, index, window, groups.values().values())
    closed = _closed(window.end_seconds)
    parts: list[Sums] = []
    while since < window.end_seconds:
        midnight = (since // _DAY_SECONDS + 1) * _DAY_SECONDS
        until = window.end_seconds if midnight > closed else midnight
        if until - since == _DAY_SECONDS and until == midnight:
            parts.append(await days.of(store, index, since))
        else:
            over = min(closed, until)
            part = await _summed(store, index, Stretch(since, until), over)
            parts.append(part.total())
        since = until
    return await _kpis(store, index, window, parts)


async def _kpis(
    store: Store, index: SiteIndex, window: Stretch, parts: Iterable[Sums]
) -> dict[str, KpiValue]:
    total = _Groups()
    total.add((index.site_group, sums) for sums in parts)
    seconds = float(window.end_seconds - window.start_seconds)
    known = Window(
        seconds=seconds,
        basis=energy_basis(index, window),
        currency=index.model.currency,
        observed=await window_observed(store, index.site, *window),
    )
    return kpis(total.total(), window=known)


class _Known(NamedTuple):
    """What is known of a time without rows: the register, and what accrues by it."""

    site: SiteIndex
    book: RateBook


class _Groups:
    """Exact sums of each group, in little memory however long the window is."""

    def __init__(self) -> None:
        self._sums: dict[GroupKey, dict[str, Sum]] = {}

    def add(self, rows: Iterable[tuple[GroupKey, Mapping[str, float]]]) -> None:
        touched = set()
        for group, sums in rows:
            fields = self._sums.get(group)
            if fields is None:
                fields = self._sums[group] = {name: Sum() for name in ROLLUP_FIELD_NAMES}
            for name, terms in fields.items():
                if sums[name] != 0:
                    terms.add(sums[name])
            touched.add(group)
        for group in touched:
            for terms in self._sums[group].values():
                terms.compress()

    def total(self) -> Sums:
        """Return the sums of all groups together."""
        return add_sums(self.values().values())

    def values(self) -> dict[GroupKey, Sums]:
        return {
            group: {name: terms.value or 0.0 for name, terms in fields.items()}
            for group, fields in self._sums.items()
        }


async def _by_day(store: Store, index: SiteIndex, window: Stretch) -> AsyncIterator[list[Point]]:
    """Yield the kept rollups of a window day by day: a year is too much at once."""
    for begins in range(window.start_seconds, window.end_seconds, _DAY_SECONDS):
        ends = min(begins + _DAY_SECONDS, window.end_seconds)
        points = await store.points("kept", "rollup", start_seconds=begins, end_seconds=ends)
        yield [point for point in points if ("site", index.site) in point.tags]


async def _add_live(store: Store, known: _Known, sums: _Groups, window: Stretch) -> None:
    """Add the live sums of the intervals, and what is silent between them."""
    index = known.site
    start, end = window
    points = await store.points("live", "rollup", start_seconds=start, end_seconds=end)
    mine = [(group_of(p.tags), p) for p in points if ("site", index.site) in p.tags]
    sums.add((group, sums_of(point)) for group, point in mine)
    # The group of the site says of each interval how long it was.
    told = {
        p.start_seconds: int(sums_of(p)["interval_seconds"])
        for group, p in mine
        if group == index.site_group
    }
    at = start
    for begins, seconds in sorted(told.items()):
        if at < begins:
            sums.add(_silent(known, Stretch(at, begins)).items())
        at = max(at, begins + seconds)
    if end - at > _ROLLED_SECONDS:
        sums.add(_silent(known, Stretch(at, end)).items())


def _stretches(quarters: Iterable[int], zone: ZoneInfo) -> Iterator[Stretch]:
    """Join quarters that follow each other in one local day, as register and prices go by days."""

    def day(entry: tuple[int, int]) -> tuple[date, int]:
        position, quarter = entry
        return datetime.fromtimestamp(quarter, zone).date(), quarter - position * QUARTER

    for _, run in groupby(enumerate(quarters), key=day):
        joined = [quarter for _, quarter in run]
        yield Stretch(joined[0], joined[-1] + QUARTER)


def _silent(known: _Known, stretch: Stretch) -> dict[GroupKey, Sums]:
    """Return what register and contracts say of a time of which nothing else is known."""
    start, end = stretch
    rows = IntervalRows(start, end - start, {}, {}, {})
    return roll_up(rows, known.site, rates=known.book.at(start))
