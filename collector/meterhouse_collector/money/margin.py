"""Revenue from tokens sold, margin and markup, and the utilization at which nothing is lost."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import Number, amount, positive, precise, signed, total

_MILLION: Final = Decimal(1_000_000)


class TokenPrice(NamedTuple):
    """The price of one kind of tokens from an instant until the next price of that kind."""

    kind: str
    valid_from_seconds: Number
    price_money_per_million_tokens: Number


class TokenSale(NamedTuple):
    """Tokens of one kind sold at an instant."""

    kind: str
    at_seconds: Number
    sold_tokens: Number


class Revenue(NamedTuple):
    """What tokens sold for, by kind; ``revenue_money`` is None while some have no price."""

    kind_money: dict[str, Decimal]
    revenue_money: Decimal | None
    unpriced_tokens: dict[str, Decimal]
    reason: str | None


@precise
def token_money(*, tokens: Number, price_money_per_million_tokens: Number) -> Decimal:
    """Return tokens / 1e6 * price: FOCUS, pricing unit "1000000 Tokens".

    Vector FOCUS-TOKENS.
    """
    price = amount("price_money_per_million_tokens", price_money_per_million_tokens)
    return amount("tokens", tokens) / _MILLION * price


@precise
def token_revenue(*, sales: Sequence[TokenSale], prices: Sequence[TokenPrice]) -> Revenue:
    """Return what sales brought at the prices in force; a missing price is no value, not zero.

    Raise ``ValueError`` where a kind has two prices from one instant.
    """
    books: dict[str, list[tuple[Decimal, Decimal]]] = {}
    for price in prices:
        since = signed("valid_from_seconds", price.valid_from_seconds)
        money = amount("price_money_per_million_tokens", price.price_money_per_million_tokens)
        book = books.setdefault(price.kind, [])
        if any(since == known for known, _ in book):
            raise ValueError(f"two prices of {price.kind} from {since}")
        book.append((since, money))
    sold: dict[str, list[Decimal]] = {}
    unpriced: dict[str, Decimal] = {}
    for sale in sales:
        at, tokens = signed("at_seconds", sale.at_seconds), amount("sold_tokens", sale.sold_tokens)
        in_force = max(
            (entry for entry in books.get(sale.kind, ()) if entry[0] <= at), default=None
        )
        if in_force is None:
            unpriced[sale.kind] = unpriced.get(sale.kind, Decimal(0)) + tokens
            continue
        sold.setdefault(sale.kind, []).append(tokens / _MILLION * in_force[1])
    kind_money = {kind: total(parts) for kind, parts in sold.items()}
    reason = f"no price of {', '.join(sorted(unpriced))} tokens" if unpriced else None
    whole = None if unpriced else total(kind_money.values())
    return Revenue(kind_money, whole, unpriced, reason)


@precise
def gross_margin_ratio(*, revenue_money: Number, cost_money: Number) -> Reasoned:
    """Return (revenue - cost) / revenue."""
    income, cost = amount("revenue_money", revenue_money), amount("cost_money", cost_money)
    if income == 0:
        return Reasoned(None, "no revenue")
    return Reasoned((income - cost) / income)


@precise
def markup_ratio(*, revenue_money: Number, cost_money: Number) -> Reasoned:
    """Return (revenue - cost) / cost."""
    income, cost = amount("revenue_money", revenue_money), amount("cost_money", cost_money)
    if cost == 0:
        return Reasoned(None, "no cost")
    return Reasoned((income - cost) / cost)


@precise
def break_even_utilization_ratio(
    *,
    cost_money_per_hours: Number,
    price_money_per_million_tokens: Number,
    saturated_tokens_per_seconds: Number,
) -> Reasoned:
    """Return cost of an hour / (price * tokens of an hour at saturation within its SLO)."""
    cost = amount("cost_money_per_hours", cost_money_per_hours)
    price = amount("price_money_per_million_tokens", price_money_per_million_tokens)
    rate = amount("saturated_tokens_per_seconds", saturated_tokens_per_seconds)
    best = price * rate * 3600 / _MILLION
    if best == 0:
        return Reasoned(None, "an hour at saturation brings nothing")
    needed = cost / best
    return Reasoned(needed, "above 1: sells at a loss at any load" if needed > 1 else None)


@precise
def commitment_break_even_ratio(
    *, committed_money_per_hours: Number, list_money_per_hours: Number
) -> Reasoned:
    """Return committed / list rate: the share of use from which a commitment is cheaper.

    Vector FOCUS-75.
    """
    committed = amount("committed_money_per_hours", committed_money_per_hours)
    listed = positive("list_money_per_hours", list_money_per_hours)
    needed = committed / listed
    return Reasoned(needed, "above 1: dearer than the list at any use" if needed > 1 else None)


KPIS: Final = (
    Kpi(
        "token_money",
        "currency",
        "tokens * price_money_per_million_tokens",
        "1000000",
        "price of tokens",
        "FOCUS specification, token billing examples",
    ),
    Kpi(
        "token_revenue",
        "by name",
        "sold_tokens * price in force",
        "1000000",
        "what tokens sold for, by kind and date",
        "definitions of this project",
    ),
    Kpi(
        "gross_margin_ratio",
        "ratio of revenue",
        "revenue_money - cost_money",
        "revenue_money",
        "profit / revenue",
        "gross margin; reference 4.15",
    ),
    Kpi(
        "markup_ratio",
        "ratio of cost",
        "revenue_money - cost_money",
        "cost_money",
        "profit / cost",
        "markup; reference 4.15",
    ),
    Kpi(
        "break_even_utilization_ratio",
        "ratio",
        "cost_money_per_hours",
        "price * saturated tokens of an hour",
        "utilization at which revenue is cost",
        "reference 1.4",
    ),
    Kpi(
        "commitment_break_even_ratio",
        "ratio",
        "committed_money_per_hours",
        "list_money_per_hours",
        "use from which a commitment is cheaper",
        "FOCUS specification, commitment examples",
    ),
)
