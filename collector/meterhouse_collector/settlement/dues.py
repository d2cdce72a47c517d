"""What the joules of each quarter hour cost: the bill of a site, in the reporting currency.

A bill is made for whole months, since tiers, peaks and fixed charges are of the month; what it says
of a quarter hour is then split over devices by the joules they drew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import BillLine, QuarterEnergy
from meterhouse_collector.money.colocation import HousedEnergy, colocation_lines
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.decimals import CONTEXT, ZERO, exact, kwh_from_joules, multiply
from meterhouse_collector.money.energy_bill import supply_lines, tariff_lines
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.money.monthly_charges import NOTHING_MORE, Known
from meterhouse_collector.site.model import SiteModel

DEMAND_KINDS: Final = ("demand", "contracted", "coincident_peak", "committed")
_LITRES_PER_CUBIC_METRE: Final = Decimal(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteQuarter:
    """What crossed a site's boundary in a quarter hour; None is not known.

    ``billed_joules`` is the net of the boundary meters with gaps filled, by which a site without
    ``[[energy_source]]`` tables is billed. The mappings are by source and by water supply.
    """

    start_seconds: int
    billed_joules: float | None
    it_joules: float | None = None
    source_joules: Mapping[str, float | None] = field(default_factory=dict)
    fuel_litres: Mapping[str, Decimal | None] = field(default_factory=dict)
    water_litres: Mapping[str, float | None] = field(default_factory=dict)


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
    """One line of the bill in the reporting currency: its name, kind and component's kind."""

    name: str
    kind: str
    component: str
    amounts: tuple[Decimal | None, ...]
    reasons: Mapping[int, str]
    provisional: bool
    notes: tuple[str, ...]


class Bill(NamedTuple):
    """The bill of consecutive quarter hours: for each what is due, and the lines it is made of."""

    dues: tuple[Due, ...]
    lines: tuple[DueLine, ...]


def site_bill(
    model: SiteModel, quarters: Sequence[SiteQuarter], known: Mapping[str, Known] | None = None
) -> Bill:
    """Return what consecutive quarter hours cost; ``known`` is by the name of the tariff.

    Raise ``ValueError`` where the quarter hours do not follow each other.
    """
    zone = ZoneInfo(model.time_zone)
    energies = [_energy(model, quarter) for quarter in quarters]
    lines: list[BillLine] = []
    passed = {contract.tariff for contract in model.colocation}
    for name in dict.fromkeys(tariff.name for tariff in model.tariff):
        if name not in passed:
            versions = [tariff for tariff in model.tariff if tariff.name == name]
            more = (known or {}).get(name, NOTHING_MORE)
            lines += tariff_lines(energies, versions, zone, currency=model.currency, known=more)
    lines += supply_lines(energies, model.supply, zone, currency=model.currency)
    housed = [_housed(quarter) for quarter in quarters]
    for contract in model.colocation:
        lines += colocation_lines(housed, contract, model.tariff, zone, currency=model.currency)
    found = [_reported(model, line, quarters) for line in lines]
    found += _water(model, quarters)
    dues = tuple(_due(quarter, position, found) for position, quarter in enumerate(quarters))
    return Bill(dues, tuple(found))


def _energy(model: SiteModel, quarter: SiteQuarter) -> QuarterEnergy:
    billed = None if quarter.billed_joules is None else kwh_from_joules(quarter.billed_joules)
    supplied: dict[str, Decimal | None] = dict(quarter.fuel_litres)
    exported: Decimal | None = ZERO
    grid: Decimal | None = billed
    for source in model.energy_source:
        if source.name not in quarter.source_joules:
            continue
        joules = quarter.source_joules[source.name]
        kwh = None if joules is None else kwh_from_joules(joules)
        if source.kind in ("ppa", "on_site"):
            supplied[source.name] = kwh
            grid = None if grid is None or kwh is None else CONTEXT.subtract(grid, kwh)
        elif source.kind == "export":
            exported = None if exported is None or kwh is None else CONTEXT.add(exported, kwh)
            grid = None if grid is None or kwh is None else CONTEXT.add(grid, kwh)
    if grid is not None and grid < 0:
        # More left than came: without a meter of the export, the net is what is known of it.
        exported = None if exported is None else CONTEXT.subtract(exported, grid)
        grid = ZERO
    return QuarterEnergy(
        start_seconds=quarter.start_seconds,
        import_kwh=grid,
        export_kwh=exported,
        supplied=supplied,
    )


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
    )


def _water(model: SiteModel, quarters: Sequence[SiteQuarter]) -> list[DueLine]:
    lines = []
    for supply in model.water:
        if supply.per_cubic_metre is None:
            continue
        amounts: list[Decimal | None] = []
        for quarter in quarters:
            day = model.day(quarter.start_seconds)
            begun = supply.valid_from <= day
            litres = quarter.water_litres.get(supply.name)
            if not begun or (supply.valid_to is not None and day >= supply.valid_to):
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
