"""Exchange: dated rates, the original amount kept, and no value without a rate."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.currency import Conversion, convert_currency, rate_in_force
from meterhouse_collector.site.tariff import ExchangeRate

USD_EUR = ("USD", "EUR")


def rate(value: str, valid_from: date, currencies: tuple[str, str] = USD_EUR) -> ExchangeRate:
    return ExchangeRate(
        from_currency=currencies[0],
        to_currency=currencies[1],
        rate=Decimal(value),
        valid_from=valid_from,
        source="central bank",
    )


RATES = [rate("0.8", date(2026, 2, 1)), rate("0.9", date(2026, 1, 1))]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 1, 1), "90"),
        (date(2026, 1, 31), "90"),
        (date(2026, 2, 1), "80"),
        (date(2027, 1, 1), "80"),
    ],
)
def test_rate_of_the_day(day: date, expected: str) -> None:
    assert convert_currency(Decimal(100), USD_EUR, day, RATES).amount == Decimal(expected)


def test_original_amount_and_source_of_the_rate_are_kept() -> None:
    assert convert_currency(Decimal("-1.25"), USD_EUR, date(2026, 1, 5), RATES) == Conversion(
        original=Decimal("-1.25"),
        original_currency="USD",
        currency="EUR",
        amount=Decimal("-1.125"),
        rate=Decimal("0.9"),
        source="central bank, valid from 2026-01-01",
    )


@pytest.mark.parametrize(
    ("currencies", "day", "reason"),
    [
        (USD_EUR, date(2025, 12, 31), "no exchange rate from USD to EUR on 2025-12-31"),
        (("EUR", "USD"), date(2026, 3, 1), "no exchange rate from EUR to USD on 2026-03-01"),
        (("USD", "JPY"), date(2026, 3, 1), "no exchange rate from USD to JPY on 2026-03-01"),
    ],
)
def test_missing_rate_is_no_value(currencies: tuple[str, str], day: date, reason: str) -> None:
    # EUR to JPY is there, so a cross rate could be made up; and so could the inverse.
    rates = [*RATES, rate("160", date(2026, 1, 1), ("EUR", "JPY"))]
    found = convert_currency(Decimal(100), currencies, day, rates)
    assert (found.amount, found.rate, found.source) == (None, None, None)
    assert found.reason == reason
    assert found.original == 100


def test_nothing_is_known_without_rates() -> None:
    assert rate_in_force(USD_EUR, date(2026, 1, 1), []) is None


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-1e12, max_value=1e12)
)
def test_same_currency_is_the_same_amount(amount: Decimal) -> None:
    found = convert_currency(amount, ("EUR", "EUR"), date(2026, 1, 1), [])
    assert found.amount == amount
    assert found.reason is None


def test_nothing_is_rounded() -> None:
    amount = Decimal("0.123456789012345678901234567890")
    found = convert_currency(amount, USD_EUR, date(2026, 1, 1), RATES)
    assert found.amount == Decimal("0.111111110111111111011111111101")
