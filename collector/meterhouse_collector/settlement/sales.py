"""What was earned: capacity sold by contract, and tokens sold at the prices of their day. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from msgspec import Struct

from meterhouse_collector.kpi.kpis import KPIS
from meterhouse_collector.kpi.value import KpiValue, Reasoned
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, exact
from meterhouse_collector.money.margin import gross_margin_ratio, markup_ratio, token_money
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.money.validity import in_force
from meterhouse_collector.settlement.capacity import ContractTotal
from meterhouse_collector.settlement.exchange import Original
from meterhouse_collector.settlement.traded import Sold, Traded
from meterhouse_collector.site.contracts import TokenPrice
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel

_ROWS: Final = {row.name: row for row in KPIS}


class Sale(Struct, frozen=True, kw_only=True):
    """What a tenant owes for capacity or tokens; ``low`` takes units of unknown state as down.

    Without money there is a ``reason``.
    """

    tenant: str
    what: str
    name: str
    low_money: Decimal | None
    high_money: Decimal | None
    reason: str | None = None


def sales(index: SiteIndex, traded: Traded, contracts: Iterable[ContractTotal]) -> tuple[Sale, ...]:
    """Return what was sold in a window, in whole minor units of the reporting currency.

    Tokens are only sold where the site model has a price of tokens.
    """
    capacity = [
        Sale(
            tenant=contract.tenant,
            what="capacity",
            name=contract.name,
            low_money=contract.low_due_money,
            high_money=contract.high_due_money,
            reason=contract.reason,
        )
        for contract in contracts
        if contract.side == "sold"
    ]
    return (*capacity, *(_tokens(index.model, traded) if index.model.token_price else ()))


def _tokens(model: SiteModel, traded: Traded) -> Iterable[Sale]:
    days: dict[tuple[str, str], dict[int, Sold]] = {}
    for (day, tenant, served_model), sold in traded.tokens.items():
        days.setdefault((tenant, served_model), {})[day] = sold
    for (tenant, served_model), by_day in sorted(days.items()):
        found = [_of_day(model, day, (tenant, served_model), sold) for day, sold in by_day.items()]
        reason = next((each.reason for each in found if each.value is None), None)
        money = None
        if reason is None:
            known = (Decimal(each.value) for each in found if each.value is not None)
            money = round_total(add(known), model.currency)
        yield Sale(
            tenant=tenant,
            what="tokens",
            name=served_model,
            low_money=money,
            high_money=money,
            reason=reason,
        )


def token_originals(index: SiteIndex, traded: Traded) -> tuple[Original, ...]:
    """Return what tokens were sold for in other currencies than the reporting one."""
    model = index.model
    found: dict[tuple[str, str], list[Decimal]] = {}
    for (at, tenant, served_model), sold in traded.tokens.items():
        price = _price(model, model.day(at), (tenant, served_model))
        if price is not None and price.currency not in (None, model.currency):
            key = f"{tenant} {served_model}", str(price.currency)
            found.setdefault(key, []).append(_money(price, sold))
    return tuple(
        Original(kind="tokens", name=name, currency=code, money=round_total(add(money), code))
        for (name, code), money in sorted(found.items())
    )


def _price(model: SiteModel, day: date, whose: tuple[str, str]) -> TokenPrice | None:
    tenant, served_model = whose
    named = [price for price in model.token_price if price.served_model == served_model]
    own = in_force([price for price in named if price.tenant == tenant], day)
    return own or in_force([price for price in named if price.tenant is None], day)


def _of_day(model: SiteModel, at_seconds: int, whose: tuple[str, str], sold: Sold) -> Reasoned:
    day = model.day(at_seconds)
    price = _price(model, day, whose)
    if price is None:
        return Reasoned(None, f"no price of {whose[1]} tokens on {day}")
    converted = convert_currency(
        _money(price, sold),
        (price.currency or model.currency, model.currency),
        day,
        model.exchange_rate,
    )
    return Reasoned(converted.amount, converted.reason)


def _money(price: TokenPrice, sold: Sold) -> Decimal:
    """Return what tokens sell for; cached ones at their own price where there is one."""
    cached = exact(min(sold.cached_input_tokens, sold.input_tokens))
    fresh = CONTEXT.subtract(exact(sold.input_tokens), cached)
    from_cache = price.cached_input_per_million
    parts = (
        (fresh, price.input_per_million),
        (cached, price.input_per_million if from_cache is None else from_cache),
        (exact(sold.output_tokens), price.output_per_million),
    )
    return add(
        token_money(tokens=tokens, price_money_per_million_tokens=per_million)
        for tokens, per_million in parts
    )


def margins(sold: Sequence[Sale], cost_money: Decimal, no_total: str | None) -> list[KpiValue]:
    """Return gross margin and markup of what was sold; nothing where nothing was.

    ``no_total`` is why the cost is not known. Where what was delivered is not, only bounds are.
    """
    if not sold:
        return []
    reason = no_total or next((sale.reason for sale in sold if sale.reason is not None), None)
    low, high = (
        add(money for sale in sold if (money := getattr(sale, name)) is not None)
        for name in ("low_money", "high_money")
    )
    coverage = 0.0 if reason is not None else (float(low / high) if high else 1.0)
    if reason is None and low != high:
        reason = "what was delivered is not known: between low and high"
    profit = CONTEXT.subtract(low, cost_money)
    values = []
    for name, function, denominator in (
        ("gross_margin_ratio", gross_margin_ratio, low),
        ("markup_ratio", markup_ratio, cost_money),
    ):
        bounds = [
            function(revenue_money=money, cost_money=max(ZERO, cost_money)) for money in (low, high)
        ]
        known = coverage > 0
        values.append(
            KpiValue(
                name=name,
                unit=_ROWS[name].unit,
                label=_ROWS[name].formula,
                value=_float(bounds[0]) if reason is None else None,
                numerator=float(profit),
                denominator=float(denominator),
                coverage=coverage,
                reason=reason or bounds[0].reason,
                low=_float(bounds[0]) if known else None,
                high=_float(bounds[1]) if known else None,
            )
        )
    return values


def _float(found: Reasoned) -> float | None:
    return None if found.value is None else float(found.value)


def by_tenant(sold: Iterable[Sale]) -> Mapping[str, tuple[Sale, ...]]:
    """Return what each tenant bought."""
    found: dict[str, list[Sale]] = {}
    for sale in sold:
        found.setdefault(sale.tenant, []).append(sale)
    return {tenant: tuple(each) for tenant, each in found.items()}
