"""The energy bill of quarter hours: every line has an amount for each, or a reason why not.

The bill is the sum over sources: import by the tariff, PPA and on-site generation at their price,
fuel, less what is credited for export (``definitions.md``). Energy is metered: no PUE in it.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import (
    Amount,
    BillLine,
    Draft,
    NoAmount,
    QuarterEnergy,
    check_consecutive,
    joined,
    masked,
)
from meterhouse_collector.money.billing_month import BillingMonth, billing_month
from meterhouse_collector.money.decimals import CONTEXT, ZERO, even_share, multiply
from meterhouse_collector.money.monthly_charges import (
    NOTHING_MORE,
    Known,
    MonthCharge,
    month_charges,
)
from meterhouse_collector.money.unit_prices import PriceAt, by_name, levied, price_of, tier_cost
from meterhouse_collector.money.validity import DatedT, in_force
from meterhouse_collector.site.components import Component, Export, Levy, Tier
from meterhouse_collector.site.tariff import Supply, Tariff

NOT_MEASURED: Final = NoAmount("not measured")


def bill(
    quarters: Sequence[QuarterEnergy],
    tariffs: Sequence[Tariff],
    supplies: Sequence[Supply],
    zone: ZoneInfo,
    *,
    currency: str,
    known: Known = NOTHING_MORE,
) -> list[BillLine]:
    """Return the lines of a grid connection's tariffs that follow each other, and of its supplies.

    ``currency`` is that of contracts without one. Nothing is rounded. Raise ``ValueError`` where
    the quarter hours do not follow each other, or the tariffs are of several connections.
    """
    check_consecutive([quarter.start_seconds for quarter in quarters])
    return [
        *tariff_lines(quarters, tariffs, zone, currency=currency, known=known),
        *supply_lines(quarters, supplies, zone, currency=currency),
    ]


def tariff_lines(
    quarters: Sequence[QuarterEnergy],
    tariffs: Sequence[Tariff],
    zone: ZoneInfo,
    *,
    currency: str,
    known: Known = NOTHING_MORE,
) -> list[BillLine]:
    """Return what import and export cost by the tariff in force in each quarter hour.

    A month in which the tariff changes owes its monthly charges by each one's quarter hours.
    """
    if len({tariff.name for tariff in tariffs}) > 1:
        raise ValueError("found tariffs of several names, allowed: those of one connection")
    versions = _in_force(tariffs, quarters, zone)
    found: dict[tuple[str, str, str], list[Draft]] = {}
    for tariff in tariffs:
        holds = [version is tariff for version in versions]
        if not any(holds):
            continue
        for draft in component_drafts(quarters, tariff.components, zone, known):
            key = (draft.name, draft.kind, tariff.currency or currency)
            found.setdefault(key, []).append(masked(draft, holds))
    lines = [joined(drafts).line(key[2]) for key, drafts in found.items()]
    if quarters and None in versions:
        gap = NoAmount("no tariff is in force")
        amounts: list[Amount] = [gap if version is None else ZERO for version in versions]
        lines.append(Draft("tariff", "tariff", amounts).line(currency))
    return lines


def component_drafts(
    quarters: Sequence[QuarterEnergy],
    components: Sequence[Component],
    zone: ZoneInfo,
    known: Known = NOTHING_MORE,
) -> list[Draft]:
    """Return one line for each component, as if it held for all of the quarter hours."""
    kwh_by_start = {quarter.start_seconds: quarter.import_kwh for quarter in quarters}
    by_start = [billing_month(start, zone) for start in kwh_by_start]
    months = list(dict.fromkeys(by_start))
    drafts: list[Draft] = []
    for group in by_name(components):
        first = group[0]
        price = price_of(group, zone)
        charges = month_charges(first, months, kwh_by_start, zone, known)
        if price is not None:
            drafts.append(Draft(first.name, first.kind, _priced(quarters, price)))
        elif charges is not None:
            by_month = dict(zip(months, charges, strict=True))
            drafts.append(_spread(first, list(kwh_by_start), by_start, by_month))
        elif isinstance(first, Tier):
            amounts = _tiered(quarters, by_start, first, known.month_import_kwh)
            drafts.append(Draft(first.name, first.kind, amounts))
        elif isinstance(first, Export):
            credits_ = [_times(quarter.export_kwh, -first.per_kwh) for quarter in quarters]
            drafts.append(Draft(first.name, first.kind, credits_))
        elif isinstance(first, Levy):
            drafts.append(_levied(first, drafts))
    return drafts


def supply_lines(
    quarters: Sequence[QuarterEnergy],
    supplies: Sequence[Supply],
    zone: ZoneInfo,
    *,
    currency: str,
) -> list[BillLine]:
    """Return what PPA, on-site generation and fuel cost, one line for each source and currency."""
    sources = {supply.source for supply in supplies}
    sources.update(source for quarter in quarters for source in quarter.supplied)
    lines = []
    for source in sorted(sources):
        mine = [supply for supply in supplies if supply.source == source]
        versions = _in_force(mine, quarters, zone)
        amounts = [_supplied(q, source, s) for q, s in zip(quarters, versions, strict=True)]
        currencies = list(dict.fromkeys(supply.currency or currency for supply in mine))
        kind = mine[0].kind if mine else "supply"
        for position, code in enumerate(currencies or [currency]):
            # What has no contract stands in the first currency's line.
            holds = [
                position == 0 if version is None else (version.currency or currency) == code
                for version in versions
            ]
            lines.append(masked(Draft(source, kind, amounts), holds).line(code))
    return lines


def _supplied(quarter: QuarterEnergy, source: str, supply: Supply | None) -> Amount:
    amount = quarter.supplied.get(source)
    if supply is None:
        absent = source not in quarter.supplied
        return ZERO if absent or amount == 0 else NoAmount(f"{source}: no price is in force")
    price = supply.per_litre if supply.per_kwh is None else supply.per_kwh
    return NoAmount(f"{source}: no price") if price is None else _times(amount, price)


def _in_force(
    versions: Sequence[DatedT], quarters: Sequence[QuarterEnergy], zone: ZoneInfo
) -> list[DatedT | None]:
    days = [datetime.fromtimestamp(quarter.start_seconds, zone).date() for quarter in quarters]
    found = {day: in_force(versions, day) for day in set(days)}
    return [found[day] for day in days]


def _times(amount: Decimal | None, price: Amount) -> Amount:
    if isinstance(price, NoAmount):
        return price
    return NOT_MEASURED if amount is None else multiply(amount, price)


def _priced(quarters: Sequence[QuarterEnergy], price: PriceAt) -> list[Amount]:
    return [_times(quarter.import_kwh, price(quarter.start_seconds)) for quarter in quarters]


def _spread(
    component: Component,
    starts: Sequence[int],
    by_start: Sequence[BillingMonth],
    charges: dict[BillingMonth, MonthCharge],
) -> Draft:
    amounts: list[Amount] = []
    for start, month in zip(starts, by_start, strict=True):
        due = charges[month].amount
        share = (
            due
            if isinstance(due, NoAmount)
            else even_share(due, month.position(start), month.quarters)
        )
        amounts.append(share)
    return Draft(
        component.name,
        component.kind,
        amounts,
        provisional=any(charge.provisional for charge in charges.values()),
        notes=tuple(note for charge in charges.values() for note in charge.notes),
        peaks=tuple(peak for charge in charges.values() for peak in charge.peaks),
    )


def _tiered(
    quarters: Sequence[QuarterEnergy],
    by_start: Sequence[BillingMonth],
    tier: Tier,
    before_kwh: Decimal | None,
) -> list[Amount]:
    # With some import not known, what is known of the month is a lower bound, which is enough once
    # it lies in the last step.
    last = max((step.up_to_kwh for step in tier.step if step.up_to_kwh is not None), default=ZERO)
    unknown = NoAmount(f"{tier.name}: the month's import so far is not known")
    amounts: list[Amount] = []
    running, certain = before_kwh or ZERO, before_kwh is not None
    for quarter, its_month in zip(quarters, by_start, strict=True):
        if quarter.start_seconds == its_month.begins:
            running, certain = ZERO, True
        if quarter.import_kwh is None:
            amounts.append(NOT_MEASURED)
            certain = False
            continue
        amounts.append(
            tier_cost(tier.step, running, quarter.import_kwh)
            if certain or running >= last
            else unknown
        )
        running = CONTEXT.add(running, quarter.import_kwh)
    return amounts


def _levied(levy: Levy, drafts: Sequence[Draft]) -> Draft:
    base = [draft for draft in drafts if not {draft.name, draft.kind}.isdisjoint(levy.of)]
    keys = [(draft.name, draft.kind) for draft in base]
    amounts = [
        levied(levy, dict(zip(keys, row, strict=True)))
        for row in zip(*(draft.amounts for draft in base), strict=True)
    ]
    return Draft(levy.name, levy.kind, amounts, any(draft.provisional for draft in base))
