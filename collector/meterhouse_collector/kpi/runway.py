"""When planned load no longer fits, what binds then, and how far promised dates have moved."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.parts import ratio


class Increment(NamedTuple):
    """Devices promised for a day and not in the peak yet; one's peak includes its share of a node.

    What should have come before today counts from today.
    """

    promised_on: date
    added_devices: float
    device_peak_watts: float


class PlannedLimit(NamedTuple):
    """A limit from a day on, until the next entry of its name: grid, UPS, cooling, floor space.

    ``peak_watts`` is the peak at this limit's own node now, after the failure that it must
    survive; ``marginal_ratio`` is what a further watt of IT adds there (at the grid: marginal PUE).
    """

    name: str
    from_on: date
    limit_watts: float
    peak_watts: float
    marginal_ratio: float


class Runway(NamedTuple):
    """The first month that does not fit (as 2027-03), what binds then, and what would bind next."""

    month: str | None
    binding: str | None
    short_watts: float | None
    next_month: str | None
    next_binding: str | None
    reason: str | None = None


def runway(
    *, today_on: date, increments: Sequence[Increment], limits: Sequence[PlannedLimit]
) -> Runway:
    """Return the first month in which planned load passes a limit (definitions: Headroom).

    Planned load at a limit = peak + sum of increments promised by then * peak watts * marginal
    ratio, against the limit in force on each day. Where several bind on one day it is the one that
    is short of most IT watts; the next is what binds once that is out of the way. A name has no
    limit before its first day. Raises ``ValueError`` for an amount that is negative or no number.
    """
    _check(increments, limits)
    first = _first(today_on, increments, limits)
    if first is None:
        return Runway(None, None, None, None, None, "all that is promised fits")
    others = [limit for limit in limits if limit.name != first.name]
    then = _first(today_on, increments, others)
    return Runway(
        month=_month(first.day),
        binding=first.name,
        short_watts=first.short_watts,
        next_month=None if then is None else _month(then.day),
        next_binding=None if then is None else then.name,
    )


def _month(day: date) -> str:
    return f"{day:%Y-%m}"


class _Short(NamedTuple):
    short_it_watts: float
    name: str
    short_watts: float
    day: date


def _first(
    today: date, increments: Sequence[Increment], limits: Sequence[PlannedLimit]
) -> _Short | None:
    days = {each.promised_on for each in increments} | {each.from_on for each in limits}
    for day in sorted({today, *(day for day in days if day > today)}):
        added = fsum(
            i.added_devices * i.device_peak_watts for i in increments if i.promised_on <= day
        )
        short = [_short(limit, added, day) for limit in _in_force(limits, day)]
        if worst := max((s for s in short if s.short_watts > 0), default=None):
            return worst
    return None


def _short(limit: PlannedLimit, added_watts: float, day: date) -> _Short:
    watts = limit.peak_watts + added_watts * limit.marginal_ratio - limit.limit_watts
    return _Short(watts / limit.marginal_ratio, limit.name, watts, day)


def _in_force(limits: Sequence[PlannedLimit], day: date) -> list[PlannedLimit]:
    begun = sorted((each for each in limits if each.from_on <= day), key=lambda each: each.from_on)
    return list({limit.name: limit for limit in begun}.values())


def _check(increments: Sequence[Increment], limits: Sequence[PlannedLimit]) -> None:
    for each in increments:
        not_negative(added_devices=each.added_devices, device_peak_watts=each.device_peak_watts)
    for limit in limits:
        not_negative(limit_watts=limit.limit_watts, peak_watts=limit.peak_watts)
        positive(marginal_ratio=limit.marginal_ratio)


class Promise(NamedTuple):
    """What a revision of the plan said: the day it was stated, and the day it promised."""

    stated_on: date
    promised_on: date


class Slippage(NamedTuple):
    """How far a promised day has moved, later above zero: in all, and by the last revision."""

    total_days: int | None
    last_days: int | None
    slips_count: int
    reason: str | None = None


def slippage(*, promises: Sequence[Promise]) -> Slippage:
    """Return how promised dates of one entry moved from revision to revision.

    Last promise less first, last less the one before it, and how many revisions moved it later
    (definitions: Contracts, pipeline).
    """
    ordered = sorted(promises)
    if not ordered:
        return Slippage(None, None, 0, "nothing was promised")
    moves = [(after.promised_on - before.promised_on).days for before, after in pairwise(ordered)]
    return Slippage(
        total_days=sum(moves),
        last_days=moves[-1] if moves else 0,
        slips_count=sum(1 for move in moves if move > 0),
    )


class Delivery(NamedTuple):
    """Devices that were delivered on a day, and put into production on another or not yet."""

    delivered_devices: float
    delivered_on: date
    in_production_on: date | None = None


class ToProduction(NamedTuple):
    """Mean days from delivery to production per device; what waits, and for how long so far."""

    mean_days: float | None
    waiting_devices: float
    waiting_mean_days: float | None
    reason: str | None = None


def days_to_production(*, today_on: date, deliveries: Sequence[Delivery]) -> ToProduction:
    """Return sum of devices * days / sum of devices, of those in production and of those waiting.

    The two are apart, since a mean over both would fall when nothing moves but trucks (definitions:
    Contracts, pipeline). Raises ``ValueError`` where a day lies before that of the delivery.
    """
    done: list[tuple[float, int]] = []
    waiting: list[tuple[float, int]] = []
    for each in deliveries:
        days = ((each.in_production_on or today_on) - each.delivered_on).days
        not_negative(delivered_devices=each.delivered_devices, days_to_production=days)
        group = waiting if each.in_production_on is None else done
        group.append((each.delivered_devices, days))
    return ToProduction(
        mean_days=_mean(done),
        waiting_devices=fsum(devices for devices, _ in waiting),
        waiting_mean_days=_mean(waiting),
        reason=_nothing(done, "in production") or _nothing(waiting, "waiting"),
    )


def _nothing(weighted: Sequence[tuple[float, int]], what: str) -> str | None:
    return None if any(devices > 0 for devices, _ in weighted) else f"nothing delivered is {what}"


def _mean(weighted: Sequence[tuple[float, int]]) -> float | None:
    return ratio(
        fsum(devices * days for devices, days in weighted),
        fsum(devices for devices, _ in weighted),
    )


KPIS: Final = (
    Kpi(
        "runway",
        "by name",
        "peak_watts + added_devices * device_peak_watts * marginal_ratio",
        "1",
        "first month in which planned load passes a limit in force",
        "definitions of this project, headroom",
    ),
    Kpi(
        "slippage",
        "by name",
        "last promised day - first promised day",
        "1",
        "how promised days moved by revision",
        "definitions of this project, contracts",
    ),
    Kpi(
        "days_to_production",
        "by name",
        "devices * days",
        "devices",
        "sum of devices * days / sum of devices",
        "definitions of this project, contracts",
    ),
)
