"""What a month owes for power and connection: one amount, which the bill spreads evenly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import Amount, NoAmount, PeakInterval
from meterhouse_collector.money.billing_month import (
    QUARTER_SECONDS,
    BillingMonth,
    month_number,
)
from meterhouse_collector.money.decimals import ZERO, multiply
from meterhouse_collector.money.demand import (
    LiveDemand,
    Peak,
    coincident_kw,
    contracted_charge,
    demand_charge,
    live_demand,
    measured_peak,
)
from meterhouse_collector.site.components import (
    STEP_SECONDS,
    CoincidentPeak,
    Component,
    Contracted,
    Demand,
    Fixed,
)

KwhByStart = Mapping[int, Decimal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a contract beyond the quarter hours that are billed.

    ``peaks_kw`` by component, year and month: those of earlier months, and of the part of the first
    month that is not given. ``forecast_kw`` by component, for the open month. ``month_import_kwh``
    is the first month's import before the first quarter hour.
    """

    peaks_kw: Mapping[tuple[str, int, int], Decimal] = field(default_factory=dict)
    forecast_kw: Mapping[str, Decimal] = field(default_factory=dict)
    month_import_kwh: Decimal | None = None


NOTHING_MORE: Final = Known()


def stated(components: Iterable[Component], month: BillingMonth) -> Known:
    """Return what components say of peaks themselves; a forecast is of the open month alone."""
    demands = [component for component in components if isinstance(component, Demand)]
    return Known(
        peaks_kw={
            (demand.name, peak.month.year, peak.month.month): peak.kw
            for demand in demands
            for peak in demand.billed_peak
        },
        forecast_kw={
            demand.name: peak.kw
            for demand in demands
            for peak in demand.forecast_peak
            if (peak.month.year, peak.month.month) == (month.year, month.month)
        },
    )


@dataclass(frozen=True, slots=True)
class MonthCharge:
    """What one component costs in one month; ``provisional`` while it may still change."""

    amount: Amount
    provisional: bool = False
    notes: tuple[str, ...] = ()
    peaks: tuple[PeakInterval, ...] = ()


def month_charges(
    component: Component,
    months: Sequence[BillingMonth],
    kwh_by_start: KwhByStart,
    zone: ZoneInfo,
    known: Known = NOTHING_MORE,
) -> list[MonthCharge] | None:
    """Return what a component costs in each month, or None if it has no price per month."""
    match component:
        case Fixed():
            return [MonthCharge(component.per_month)] * len(months)
        case Contracted():
            amount = contracted_charge(component.kva, component.per_kva)
            return [MonthCharge(amount)] * len(months)
        case CoincidentPeak():
            return [_coincident(component, month, kwh_by_start) for month in months]
        case Demand():
            return _demands(component, months, kwh_by_start, zone, known)
    return None


def _within(month: BillingMonth, kwh_by_start: KwhByStart) -> dict[int, Decimal | None]:
    starts = range(month.begins, month.ends, QUARTER_SECONDS)
    return {start: kwh_by_start[start] for start in starts if start in kwh_by_start}


def _demands(
    component: Demand,
    months: Sequence[BillingMonth],
    kwh_by_start: KwhByStart,
    zone: ZoneInfo,
    known: Known,
) -> list[MonthCharge]:
    # The peaks of each month become the ratchet of those after it.
    peaks = {
        month_number(year, month): kw
        for (name, year, month), kw in known.peaks_kw.items()
        if name == component.name
    }
    charges = []
    for month in months:
        peak = measured_peak(_within(month, kwh_by_start), component, component.interval, zone)
        begun = month.begins in kwh_by_start or month.number in peaks
        if peak.kw is not None:
            peaks[month.number] = max(peak.kw, peaks.get(month.number, ZERO))
        is_open = month.ends - QUARTER_SECONDS not in kwh_by_start
        forecast = known.forecast_kw.get(component.name) if is_open else None
        ratchet = ratchet_kw(component, month, peaks)
        billed = live_demand(peaks.get(month.number), ratchet, forecast)
        if month.month not in component.months:
            charge = MonthCharge(ZERO)
        elif not begun:
            charge = _unknown(component, "the month's earlier quarter hours are not known")
        elif billed is None:
            charge = _unknown(component, "no interval is measured")
        else:
            charge = _charge(component, month, billed, peak, is_open=is_open)
        charges.append(charge)
    return charges


def _unknown(component: Component, reason: str) -> MonthCharge:
    return MonthCharge(NoAmount(f"{component.name}: {reason}"))


def ratchet_kw(
    component: Demand, month: BillingMonth, peaks: Mapping[int, Decimal]
) -> Decimal | None:
    """Return r times the highest known peak of the months before, or None where none is known.

    ``peaks`` are in kW by the number of their month.
    """
    if component.ratchet_ratio is None or component.ratchet_months is None:
        return None
    first = month.number - component.ratchet_months
    prior = [kw for number, kw in peaks.items() if first <= number < month.number]
    return multiply(component.ratchet_ratio, max(prior)) if prior else None


def _charge(
    component: Demand, month: BillingMonth, billed: LiveDemand, peak: Peak, *, is_open: bool
) -> MonthCharge:
    where = f"{component.name} {month.year}-{month.month:02}"
    notes = [f"{where}: billed {_plain(billed.kw)} kW ({billed.binding.replace('_', ' ')})"]
    peaks: tuple[PeakInterval, ...] = ()
    if peak.kw is not None and peak.begins is not None:
        length = STEP_SECONDS[component.interval]
        peaks = (PeakInterval(where, peak.begins, length, peak.kw),)
        begins = datetime.fromtimestamp(peak.begins, UTC)
        notes.append(f"{where}: measured peak {_plain(peak.kw)} kW from {begins:%Y-%m-%dT%H:%MZ}")
    if peak.unmeasured:
        notes.append(f"{where}: intervals not measured, {peak.unmeasured}: a lower bound")
    return MonthCharge(
        demand_charge(billed.kw, component.per_kw),
        provisional=is_open or peak.unmeasured > 0,
        notes=tuple(notes),
        peaks=peaks,
    )


def _plain(kw: Decimal) -> str:
    return f"{kw:.3f}".rstrip("0").rstrip(".")


def _coincident(
    component: CoincidentPeak, month: BillingMonth, kwh_by_start: KwhByStart
) -> MonthCharge:
    hours = [int(hour.timestamp()) for hour in component.hours]
    hours = [hour for hour in hours if month.begins <= hour < month.ends]
    if not hours:
        return MonthCharge(ZERO)
    ends = max(kwh_by_start, default=0) + QUARTER_SECONDS
    past = [hour for hour in hours if hour < ends]
    kw = coincident_kw(kwh_by_start, past)
    if kw is None:
        return _unknown(component, "an hour of the peak is not measured")
    return MonthCharge(multiply(kw, component.per_kw), provisional=len(past) < len(hours))
