"""Sums of the kept rollup over long windows, in what budgets and commitments need of them.

Quarters of the last days are held as they are, older ones as sums of local days: a period begins at
a midnight. Pure but for ``read``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import JOULES_KINDS, SECONDS_KINDS
from meterhouse_collector.rollup.points import group_of
from meterhouse_collector.rows import Point
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.store import Store

QUARTER: Final = wire.QUARTER_SECONDS
DAYS_AT_ONCE: Final = 8
_AGAIN_SECONDS: Final = 2 * 3600
_ACCRUED: Final = tuple(f"{s}_{kind}_money" for kind in SECONDS_KINDS for s in wire.STATES)
_DRAWN: Final = tuple(f"{s}_{kind}_money" for kind in JOULES_KINDS for s in wire.STATES)
_CAPITAL: Final = tuple(f"{state}_capital_money" for state in wire.STATES)
_RENT: Final = tuple(f"{state}_rent_money" for state in wire.STATES)


class Place(NamedTuple):
    """What a scope may be about."""

    cluster: str
    pool: str
    tenant: str


class Amounts(NamedTuple):
    """What time cost, what joules cost, and the device-seconds that were paid for and used."""

    accrued_money: float = 0.0
    drawn_money: float = 0.0
    rent_money: float = 0.0
    used_seconds: float = 0.0
    installed_seconds: float = 0.0
    unpriced_seconds: float = 0.0
    capital_money: float = 0.0

    @property
    def money(self) -> float:
        """All of the money."""
        return self.accrued_money + self.drawn_money


class Found(NamedTuple):
    """Amounts over a window, and the part of it of which they are known."""

    amounts: Amounts
    coverage: float


Places = Mapping[Place, Amounts]
Wanted = Callable[[Place], bool]


def add(parts: Iterable[Amounts]) -> Amounts:
    """Return the sums, exactly."""
    columns = zip(*parts, strict=True)
    found = [fsum(column) for column in columns]
    return Amounts(*found) if found else Amounts()


def by_quarter(points: Iterable[Point], site: str) -> dict[int, dict[Place, Amounts]]:
    """Return the amounts of a site's kept rollup by quarter and place."""
    parts: dict[int, dict[Place, list[Amounts]]] = {}
    for point in points:
        group = group_of(point.tags)
        if group.site == site:
            place = Place(group.cluster, group.pool, group.tenant)
            quarter = parts.setdefault(point.start_seconds, {})
            quarter.setdefault(place, []).append(_amounts(point))
    return {
        start: {place: add(rows) for place, rows in places.items()}
        for start, places in parts.items()
    }


def _amounts(point: Point) -> Amounts:
    def total(names: Iterable[str]) -> float:
        return fsum(float(point.fields.get(name, 0.0)) for name in names)

    return Amounts(
        accrued_money=total(_ACCRUED),
        drawn_money=total(_DRAWN),
        rent_money=total(_RENT),
        used_seconds=total(("active_seconds", "held_idle_seconds")),
        installed_seconds=total(("installed_seconds",)),
        unpriced_seconds=total(("unpriced_seconds",)),
        capital_money=total(_CAPITAL),
    )


class _Day(NamedTuple):
    quarters: int
    places: dict[Place, Amounts]


class KeptAmounts:
    """Follows the kept rollup; what is older than the last days is read once."""

    def __init__(self, model: SiteModel, recent_seconds: float) -> None:
        self._model = model
        self._recent_days = int(recent_seconds // 86_400) + 2
        self._quarters: dict[int, dict[Place, Amounts]] = {}
        self._days: dict[date, _Day] = {}
        self._today: date | None = None

    async def read(self, store: Store, since_seconds: float, now_seconds: float) -> bool:
        """Read what is new, and some of the history; tell whether all of that is there."""
        recent = self._recent_from(now_seconds)
        today = self._model.day(now_seconds)
        begins = self.newest_end()
        if begins is None or today != self._today:
            # Late rows and new prices re-state what was: the last days are read again each day.
            begins = recent
        begins = max(recent, begins - _AGAIN_SECONDS)
        for start, end in self._steps(begins, now_seconds):
            self._quarters |= await self._points(store, start, end)
        self._today = today
        for start in [start for start in self._quarters if start < recent]:
            del self._quarters[start]
        for day in [day for day in self._days if day < self._model.day(since_seconds)]:
            del self._days[day]
        missing = self._missing_days(since_seconds, recent)
        for day in missing[:DAYS_AT_ONCE]:
            quarters = await self._points(store, self._instant(day), self._instant(_next(day)))
            self._days[day] = _sum_day(quarters)
        return len(missing) <= DAYS_AT_ONCE

    async def _points(self, store: Store, start: int, end: int) -> dict[int, dict[Place, Amounts]]:
        points = await store.points("kept", "rollup", start_seconds=start, end_seconds=end)
        return by_quarter(points, self._model.name)

    def _steps(self, begins: int, ends: float) -> Iterator[tuple[int, int]]:
        for start in range(begins, int(ends) + 1, 86_400):
            yield start, min(int(ends) + 1, start + 86_400)

    def _recent_from(self, now_seconds: float) -> int:
        return self._instant(self._model.day(now_seconds) - timedelta(days=self._recent_days))

    def _instant(self, day: date) -> int:
        return int(self._model.instant(day))

    def _missing_days(self, since_seconds: float, until_seconds: int) -> list[date]:
        day, last = self._model.day(since_seconds), self._model.day(until_seconds)
        found = []
        while day < last:
            if day not in self._days:
                found.append(day)
            day = _next(day)
        # The newest first: they weigh most in what is asked.
        return found[::-1]

    def newest_end(self) -> int | None:
        """Return the end of the newest quarter that is there."""
        return max(self._quarters) + QUARTER if self._quarters else None

    def found(self, wanted: Wanted, begins_seconds: float, ends_seconds: float) -> Found:
        """Return what is known of a window; it begins at a local midnight, or in the last days."""
        parts: list[Amounts] = []
        known = 0
        recent = min(self._quarters, default=int(ends_seconds))
        if self._today is not None:
            recent = self._instant(self._today - timedelta(days=self._recent_days))
        for day, sums in self._days.items():
            if begins_seconds <= self._instant(day) < min(recent, ends_seconds):
                known += sums.quarters
                parts += [a for place, a in sums.places.items() if wanted(place)]
        for start, places in self._quarters.items():
            if max(recent, begins_seconds) <= start and start + QUARTER <= ends_seconds:
                known += 1
                parts += [a for place, a in places.items() if wanted(place)]
        asked = (ends_seconds - begins_seconds) / QUARTER
        amounts = add(parts)
        priced = 1.0
        if amounts.installed_seconds > 0:
            priced = 1 - min(1.0, amounts.unpriced_seconds / amounts.installed_seconds)
        return Found(amounts, min(1.0, known / asked) * priced if asked > 0 else 0.0)


def _sum_day(quarters: Mapping[int, Places]) -> _Day:
    parts: dict[Place, list[Amounts]] = {}
    for places in quarters.values():
        for place, amounts in places.items():
            parts.setdefault(place, []).append(amounts)
    return _Day(len(quarters), {place: add(rows) for place, rows in parts.items()})


def _next(day: date) -> date:
    return day + timedelta(days=1)
