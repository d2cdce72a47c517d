"""Converts money by dated exchange rates; the original amount stays beside the result."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from meterhouse_collector.money.decimals import multiply
from meterhouse_collector.site.tariff import ExchangeRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """An amount in two currencies; without an ``amount`` there is a ``reason``."""

    original: Decimal
    original_currency: str
    currency: str
    amount: Decimal | None = None
    rate: Decimal | None = None
    source: str | None = None
    reason: str | None = None


def rate_in_force(
    currencies: tuple[str, str], on: date, rates: Iterable[ExchangeRate]
) -> ExchangeRate | None:
    """Return the latest rate of a pair, from and to, that has begun on a day, or None.

    A rate is never inverted or crossed: buying and selling differ, so that would be a guess.
    """
    begun = (
        rate
        for rate in rates
        if (rate.from_currency, rate.to_currency) == currencies and rate.valid_from <= on
    )
    return max(begun, key=lambda rate: rate.valid_from, default=None)


def convert_currency(
    amount: Decimal, currencies: tuple[str, str], on: date, rates: Iterable[ExchangeRate]
) -> Conversion:
    """Return an amount of the first currency in the second: amount times the rate of the day.

    Nothing is rounded. Without a rate there is no amount, and the reason names what is missing.
    """
    original, wanted = currencies
    converted = Conversion(original=amount, original_currency=original, currency=wanted)
    if original == wanted:
        return replace(converted, amount=amount)
    entry = rate_in_force(currencies, on, rates)
    if entry is None:
        return replace(converted, reason=f"no exchange rate from {original} to {wanted} on {on}")
    return replace(
        converted,
        amount=multiply(amount, entry.rate),
        rate=entry.rate,
        source=f"{entry.source}, valid from {entry.valid_from}",
    )
