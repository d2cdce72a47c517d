"""The most that a site, or a part of it, can cost per second: what an alert can ever see.

An upper bound, or None where the site model does not bound it: then nothing can be said to be
unreachable. Floats, as for all that is only compared.
"""

from collections.abc import Iterator
from math import fsum, inf
from typing import Final

from meterhouse_collector.site.components import (
    CoincidentPeak,
    Component,
    Contracted,
    Demand,
    Energy,
    Export,
    Fixed,
    Levy,
    Series,
    Tier,
    TimeOfUse,
)
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.devices import Slot
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.power import Meter
from meterhouse_collector.site.targets import Budget, Scope
from meterhouse_collector.site.tariff import Tariff

_HOUR_SECONDS: Final = 3600
_YEAR_SECONDS: Final = 365 * 86_400
# The shortest month makes the highest rate, the longest period the slowest budget.
_MONTH_SECONDS: Final = 28 * 86_400
PERIOD_SECONDS: Final = {"month": 31 * 86_400, "quarter": 92 * 86_400, "year": 366 * 86_400}


def most_burn(index: SiteIndex, budget: Budget) -> float | None:
    """Return how many times the even pace a budget can be spent at most (``kpis.md``, 4.6).

    None where the site model does not bound it, and for cash, which is spent at once.
    """
    if budget.basis == "cash":
        return None
    begins = index.model.instant(budget.valid_from)
    ends = inf if budget.valid_to is None else index.model.instant(budget.valid_to)
    rate = most_per_second(index, budget.scope, begins, ends)
    return None if rate is None else rate * PERIOD_SECONDS[budget.period] / float(budget.amount)


def most_per_second(
    index: SiteIndex, scope: Scope, begins_seconds: float, ends_seconds: float = inf
) -> float | None:
    """Return the most a scope costs per second at any instant of a stretch; None is unbounded."""
    dated = index.dated
    known = {begins_seconds, *index.register_changes}
    for table in (dated.tariff, dated.operations, dated.contract, dated.colocation, dated.meter):
        known.update(table.instants)
    rates = [
        _at(index, scope, at_seconds)
        for at_seconds in sorted(known)
        if begins_seconds <= at_seconds < ends_seconds
    ]
    bounded = [rate for rate in rates if rate is not None]
    return max(bounded) if len(bounded) == len(rates) else None


def _at(index: SiteIndex, scope: Scope, at_seconds: float) -> float | None:
    model = index.model
    foreign = any(
        getattr(entry, "currency", None) not in {None, model.currency}
        for table in (model.hardware, model.tariff, model.operations, model.contract)
        for entry in table
    )
    if foreign or model.supply or model.water or model.carbon_price or model.shared_equipment:
        return None
    slots = [
        slot
        for plan in index.plans(at_seconds).values()
        for slot in plan.slots
        if _within(index, scope, slot, at_seconds)
    ]
    devices = [_device(index, slot) for slot in slots]
    energy = _energy(index, at_seconds)
    known = [rate for rate in devices if rate is not None]
    if energy is None or len(known) < len(devices):
        return None
    operations = [
        float(entry.amount) / (_MONTH_SECONDS if entry.per == "month" else _YEAR_SECONDS)
        for entry in index.dated.operations.at(at_seconds).values()
    ]
    contracts = index.dated.contract.at(at_seconds).values()
    rent = [_rent(entry) for entry in contracts if entry.side == "bought"]
    return fsum((*known, *operations, *rent, energy))


def _within(index: SiteIndex, scope: Scope, slot: Slot, at_seconds: float) -> bool:
    pool = index.dated.pool.get(slot.pool, at_seconds)
    return (
        pool is not None
        and scope.pool in {None, pool.name}
        and scope.cluster in {None, pool.cluster}
        and scope.tenant in {None, pool.tenant}
    )


def _device(index: SiteIndex, slot: Slot) -> float | None:
    hardware = index.hardware_of(slot.asset)
    if slot.capital_per_second is None:
        return None
    support = 0.0 if hardware is None else float(hardware.support_per_device_year)
    return slot.capital_per_second + support / _YEAR_SECONDS


def _rent(contract: CapacityContract) -> float:
    units = max([contract.units, *(step.units for step in contract.ramp)])
    per_second = {
        "unit_hour": units / _HOUR_SECONDS,
        "unit_month": units / _MONTH_SECONDS,
        "month": 1 / _MONTH_SECONDS,
    }
    return float(contract.rate) * per_second[contract.rate_per]


def _energy(index: SiteIndex, at_seconds: float) -> float | None:
    """Return the bill of a site whose boundary meters all stand at their peak."""
    terms = [term for term in index.metering(at_seconds).facility if term.factor > 0]
    peaks = [_peak(term.meter) * term.factor for term in terms]
    tariffs = list(index.dated.tariff.at(at_seconds).values())
    if not terms or not tariffs or inf in peaks:
        return None
    kilowatts = fsum(peaks) / 1000
    rates = [_tariff(tariff, kilowatts) for tariff in tariffs]
    for colocation in index.dated.colocation.at(at_seconds).values():
        rates.append(float(colocation.committed_kw * colocation.per_kw) / _MONTH_SECONDS)
        rates.append(kilowatts * float(colocation.per_kwh or 0) / _HOUR_SECONDS)
    total = fsum(rates)
    return total if total < inf else None


def _peak(meter: Meter) -> float:
    return inf if meter.peak_watts is None else meter.peak_watts


def _tariff(tariff: Tariff, kilowatts: float) -> float:
    plain = fsum(_highest(tariff, kilowatts))
    levies = [float(c.per_cent) / 100 for c in tariff.components if isinstance(c, Levy)]
    for levy in levies:
        # A levy may name those before it, so each is taken of everything.
        plain += plain * levy
    return plain


def _highest(tariff: Tariff, kilowatts: float) -> Iterator[float]:
    by_name: dict[str, float] = {}
    for component in tariff.components:
        rate = _component(component, kilowatts)
        by_name[component.name] = max(rate, by_name.get(component.name, 0.0))
    yield from by_name.values()


def _component(component: Component, kilowatts: float) -> float:
    match component:
        case Energy() | TimeOfUse() | Tier() | Series():
            return kilowatts * _highest_per_kwh(component) / _HOUR_SECONDS
        case Demand() | CoincidentPeak():
            return kilowatts * float(component.per_kw) / _MONTH_SECONDS
        case Contracted():
            return float(component.per_kva * component.kva) / _MONTH_SECONDS
        case Fixed():
            return float(component.per_month) / _MONTH_SECONDS
        case Levy() | Export():
            return 0.0


def _highest_per_kwh(component: Energy | TimeOfUse | Tier | Series) -> float:
    match component:
        case Energy() | TimeOfUse():
            return float(component.per_kwh)
        case Tier():
            return max(float(step.per_kwh) for step in component.step)
        case Series():
            # A file of prices may hold any.
            return max((float(point.per_kwh) for point in component.point), default=inf)
