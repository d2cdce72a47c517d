"""What the joules of each quarter hour cost: the bill of a site, in the reporting currency.

A bill is made for whole months, since tiers, peaks and fixed charges are of the month; what it says
of a quarter hour is then split over devices by the joules they drew.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import BillLine, PeakInterval
from meterhouse_collector.money.billing_month import billing_month
from meterhouse_collector.money.colocation import HousedEnergy, colocation_lines
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.decimals import CONTEXT, ZERO, exact, kwh_from_joules, multiply
from meterhouse_collector.money.energy_bill import supply_lines, tariff_lines
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.money.monthly_charges import NOTHING_MORE, Known, stated
from meterhouse_collector.money.validity import in_force
from meterhouse_collector.settlement.supplies import SiteQuarter, connected, quarter_energy
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.tariff import Tariff

DEMAND_KINDS: Final = ("demand", "contracted", "coincident_peak", "committed")
_LITRES_PER_CUBIC_METRE: Final = Decimal(1000)
_KG_PER_TONNE: Final = Decimal(1000)


class Due(NamedTuple):
    """What the joules of one quarter hour cost by kind; ``energy`` is None with a ``reason``.

    ``missing`` says why other lines of the bill have no amount.
    """

    start_seconds: int
    energy: Decimal | None
    demand: Decimal = ZERO
    water: Decimal = ZERO
    carbon: Decimal = ZERO
    reason: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal | None:
        """All kinds together, None where the price of energy is not known."""
        if self.energy is None:
            return None
        total = self.energy
        for kind in JOULES_KINDS[1:]:
            total = CONTEXT.add(total, getattr(self, kind))
        return total


class DueLine(NamedTuple):
    """One line of the bill in the reporting currency: its name, kind and component's kind.

    ``originals`` are the amounts in the ``currency`` of its price, where that is another.
    """

    name: str
    kind: str
    component: str
    amounts: tuple[Decimal | None, ...]
    reasons: Mapping[int, str]
    provisional: bool
    notes: tuple[str, ...]
    peaks: tuple[PeakInterval, ...] = ()
    currency: str = ""
    originals: tuple[Decimal | None, ...] = ()


class Bill(NamedTuple):
    """The bill of consecutive quarter hours: for each what is due, and the lines it is made of."""

    dues: tuple[Due, ...]
    lines: tuple[DueLine, ...]


def site_bill(model: SiteModel, quarters: Sequence[SiteQuarter]) -> Bill:
    """Return what consecutive quarter hours cost; the last is of the month that may be open.

    Raise ``ValueError`` where the quarter hours do not follow each other.
    """
    zone = ZoneInfo(model.time_zone)
    energies = [quarter_energy(model, quarter) for quarter in quarters]
    lines: list[BillLine] = []
    passed = {contract.tariff for contract in model.colocation}
    for name in dict.fromkeys(tariff.name for tariff in model.tariff):
        if name not in passed:
            versions = [tariff for tariff in model.tariff if tariff.name == name]
            mine = connected(model, name, quarters, energies)
            known = _stated(versions, quarters, zone)
            lines += tariff_lines(mine, versions, zone, currency=model.currency, known=known)
    lines += supply_lines(energies, model.supply, zone, currency=model.currency)
    housed = [_housed(quarter) for quarter in quarters]
    for contract in until_next(model.colocation, lambda entry: entry.name):
        lines += colocation_lines(housed, contract, model.tariff, zone, currency=model.currency)
    found = [_reported(model, line, quarters) for line in lines]
    found += _water(model, quarters)
    found += _carbon(model, quarters)
    dues = tuple(_due(quarter, position, found) for position, quarter in enumerate(quarters))
    return Bill(dues, tuple(found))


def _stated(versions: Sequence[Tariff], quarters: Sequence[SiteQuarter], zone: ZoneInfo) -> Known:
    if not quarters:
        return NOTHING_MORE
    components = (component for tariff in versions for component in tariff.components)
    return stated(components, billing_month(quarters[-1].start_seconds, zone))


def _housed(quarter: SiteQuarter) -> HousedEnergy:
    billed, it = quarter.billed_joules, quarter.it_joules
    return HousedEnergy(
        start_seconds=quarter.start_seconds,
        facility_kwh=None if billed is None else kwh_from_joules(billed),
        it_kwh=None if it is None else kwh_from_joules(it),
    )


def _reported(model: SiteModel, line: BillLine, quarters: Sequence[SiteQuarter]) -> DueLine:
    amounts: list[Decimal | None] = []
    reasons = dict(line.reasons)
    rates: dict[object, tuple[Decimal | None, str | None]] = {}
    for position, (amount, quarter) in enumerate(zip(line.amounts, quarters, strict=True)):
        day = model.day(quarter.start_seconds)
        if day not in rates:
            found = convert_currency(
                Decimal(1), (line.currency, model.currency), day, model.exchange_rate
            )
            rates[day] = found.amount, found.reason
        rate, reason = rates[day]
        if amount is None or rate is None:
            amounts.append(None)
            reasons.setdefault(position, reason or "not known")
        else:
            amounts.append(amount if rate == 1 else multiply(amount, rate))
    return DueLine(
        name=line.name,
        kind="demand" if line.kind in DEMAND_KINDS else "energy",
        component=line.kind,
        amounts=tuple(amounts),
        reasons=reasons,
        provisional=line.provisional,
        notes=line.notes,
        peaks=line.peaks,
        currency=line.currency,
        originals=() if line.currency == model.currency else line.amounts,
    )


def _water(model: SiteModel, quarters: Sequence[SiteQuarter]) -> list[DueLine]:
    lines = []
    for supply in until_next(model.water, lambda entry: entry.name):
        if supply.per_cubic_metre is None:
            continue
        amounts: list[Decimal | None] = []
        for quarter in quarters:
            day = model.day(quarter.start_seconds)
            litres = quarter.water_litres.get(supply.name)
            if in_force([supply], day) is None:
                amounts.append(ZERO)
            elif litres is None:
                amounts.append(None)
            else:
                cubic_metres = CONTEXT.divide(exact(litres), _LITRES_PER_CUBIC_METRE)
                amounts.append(multiply(cubic_metres, supply.per_cubic_metre))
        line = BillLine(
            name=supply.name,
            kind="water",
            currency=supply.currency or model.currency,
            amounts=tuple(amounts),
            reasons={i: "not measured" for i, amount in enumerate(amounts) if amount is None},
        )
        lines.append(_reported(model, line, quarters)._replace(kind="water"))
    return lines


def _carbon(model: SiteModel, quarters: Sequence[SiteQuarter]) -> list[DueLine]:
    """Return what is invoiced for emissions; a shadow price enters no bill."""
    lines = []
    for price in until_next(model.carbon_price, lambda entry: (entry.kind, entry.scope)):
        if price.kind != "invoiced":
            continue
        amounts: list[Decimal | None] = []
        for quarter in quarters:
            day = model.day(quarter.start_seconds)
            emitted = quarter.carbon_kg.get(price.scope)
            if in_force([price], day) is None:
                amounts.append(ZERO)
            elif emitted is None:
                amounts.append(None)
            else:
                tonnes = CONTEXT.divide(exact(emitted), _KG_PER_TONNE)
                amounts.append(multiply(tonnes, price.per_tonne))
        line = BillLine(
            name=f"scope {price.scope} emissions",
            kind="carbon",
            currency=price.currency or model.currency,
            amounts=tuple(amounts),
            reasons={i: "not known" for i, amount in enumerate(amounts) if amount is None},
        )
        lines.append(_reported(model, line, quarters)._replace(kind="carbon"))
    return lines


def _due(quarter: SiteQuarter, position: int, lines: Sequence[DueLine]) -> Due:
    sums = dict.fromkeys(JOULES_KINDS, ZERO)
    reason = None
    missing: list[str] = []
    for line in lines:
        amount = line.amounts[position]
        why = f"{line.name}: {line.reasons.get(position, 'not known')}"
        if amount is not None:
            sums[line.kind] = CONTEXT.add(sums[line.kind], amount)
        elif line.kind in ("energy", "demand"):
            reason = reason or why
        else:
            missing.append(why)
    if not any(line.kind == "energy" for line in lines):
        reason = reason or "no tariff, supply or colocation gives a price of energy"
    energy = None if reason is not None else sums["energy"]
    return Due(
        quarter.start_seconds,
        energy,
        demand=sums["demand"],
        water=sums["water"],
        carbon=sums["carbon"],
        reason=reason,
        missing=tuple(missing),
    )
