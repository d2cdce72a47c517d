"""The demand charge: the highest mean power of a month, in the utility's own intervals.

Energy is kept in UTC quarter hours; a utility's interval of 15, 30 or 60 minutes begins on its
local clock, so in a zone with half an hour of offset it is not a UTC hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, multiply
from meterhouse_collector.site.components import STEP_SECONDS, LocalWindow, Step

HOUR_SECONDS: Final = Decimal(3600)
MINUTE_SECONDS: Final = 60


class Peak(NamedTuple):
    """The highest mean power of an interval, and how many intervals were not wholly measured.

    With some not measured it is a lower bound. ``kw`` is None where none is.
    """

    begins: int | None
    kw: Decimal | None
    unmeasured: int


def interval_start(start_seconds: int, step: Step, zone: ZoneInfo) -> int:
    """Return when the utility's interval around a quarter hour begins on its local clock."""
    minutes = STEP_SECONDS[step] // MINUTE_SECONDS
    minute = datetime.fromtimestamp(start_seconds, zone).minute
    return start_seconds - minute % minutes * MINUTE_SECONDS


def mean_kw(kwh: Sequence[Decimal]) -> Decimal:
    """Return the mean power of quarter hours: kWh / h over the interval (vector DEMAND)."""
    hours = CONTEXT.divide(Decimal(len(kwh) * QUARTER_SECONDS), HOUR_SECONDS)
    return CONTEXT.divide(add(kwh), hours)


def measured_peak(
    kwh_by_start: Mapping[int, Decimal | None], window: LocalWindow, step: Step, zone: ZoneInfo
) -> Peak:
    """Return the peak of quarter hours in a window; an interval is in it by its beginning.

    Of equal peaks the first is returned. A quarter hour with None was not measured; one that is not
    given is outside the period, and an interval cut by its edge is left out.
    """
    intervals: dict[int, list[int]] = {}
    for start in sorted(kwh_by_start):
        intervals.setdefault(interval_start(start, step, zone), []).append(start)
    best, unmeasured = Peak(None, None, 0), 0
    for begins, starts in intervals.items():
        cut = len(starts) < _quarters_of(begins, step, zone)
        if cut or not window.contains(_clock(begins, zone)):
            continue
        known = [kwh for start in starts if (kwh := kwh_by_start[start]) is not None]
        if len(known) < len(starts):
            unmeasured += 1
            continue
        kw = mean_kw(known)
        if best.kw is None or kw > best.kw:
            best = Peak(begins, kw, 0)
    return best._replace(unmeasured=unmeasured)


def _clock(start_seconds: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(start_seconds, zone).replace(tzinfo=None)


def _quarters_of(begins: int, step: Step, zone: ZoneInfo) -> int:
    # A change of clocks by half an hour cuts an interval of 60 minutes short.
    starts = range(begins, begins + STEP_SECONDS[step], QUARTER_SECONDS)
    return sum(interval_start(start, step, zone) == begins for start in starts)


def ratcheted_demand(peak_kw: Decimal, prior_peak_kw: Decimal, ratchet_ratio: Decimal) -> Decimal:
    """Return max(peak, r * prior peak) in kW (USDA FS tech tip on demand ratchets)."""
    return max(peak_kw, multiply(ratchet_ratio, prior_peak_kw))


def demand_charge(billed_kw: Decimal, price_per_kw: Decimal) -> Decimal:
    """Return billed kW times the price per kW and month (vector DEMAND)."""
    return multiply(billed_kw, price_per_kw)


def share_of_peak(part_kwh: Decimal, peak_kwh: Decimal) -> Decimal | None:
    """Return which part of the peak interval's energy a group drew, or None where there was none.

    It is shown beside the charge, which is spread evenly over its month.
    """
    if peak_kwh <= 0 or not ZERO <= part_kwh <= peak_kwh:
        return None
    return CONTEXT.divide(part_kwh, peak_kwh)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDemand:
    """What will be billed as far as is known: always ``provisional`` until the month is over."""

    kw: Decimal
    binding: Literal["so_far", "ratchet", "forecast"]
    provisional: Literal[True] = True


def live_demand(
    so_far_kw: Decimal | None, ratchet_kw: Decimal | None, forecast_kw: Decimal | None
) -> LiveDemand | None:
    """Return max(so far, ratchet, forecast) and which of them it is; None where none is known."""
    candidates: tuple[tuple[Literal["so_far", "ratchet", "forecast"], Decimal | None], ...]
    candidates = (("so_far", so_far_kw), ("ratchet", ratchet_kw), ("forecast", forecast_kw))
    known = [LiveDemand(kw=kw, binding=name) for name, kw in candidates if kw is not None]
    return max(known, key=lambda demand: demand.kw, default=None)


def contracted_charge(kva: Decimal, price_per_kva: Decimal) -> Decimal:
    """Return what a month of contracted kVA costs, drawn or not."""
    return multiply(kva, price_per_kva)


def coincident_kw(
    kwh_by_start: Mapping[int, Decimal | None], hours: Sequence[int]
) -> Decimal | None:
    """Return the mean power over the hours when the grid peaked; None where one is not measured."""
    starts = [start for hour in hours for start in range(hour, hour + 3600, QUARTER_SECONDS)]
    known = [kwh for start in starts if (kwh := kwh_by_start.get(start)) is not None]
    return mean_kw(known) if len(known) == len(starts) > 0 else None
