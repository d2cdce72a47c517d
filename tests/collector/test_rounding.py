"""Rounding: whole minor units that sum to the rounded total, and no line off by a unit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.rounding import (
    MINOR_UNITS,
    largest_remainder,
    minor_units,
    round_total,
)
from meterhouse_collector.settlement.columns import figure_text

AMOUNT = st.decimals(min_value=-(10**9), max_value=10**9, places=12)


def decimals(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(amount) for amount in amounts)


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("EUR", 2),
        ("USD", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("ISK", 0),
        ("KWD", 3),
        ("BHD", 3),
        ("CLF", 4),
    ],
)
def test_minor_units(currency: str, digits: int) -> None:
    assert minor_units(currency) == digits


@pytest.mark.parametrize("code", ["XAU", "XXX", "eur", "EURO", ""])
def test_code_without_minor_unit_is_turned_down(code: str) -> None:
    with pytest.raises(ValueError, match="allowed: an ISO 4217 code with a minor unit"):
        minor_units(code)


@pytest.mark.parametrize(
    ("amounts", "currency", "expected"),
    [
        (("33.333", "33.333", "33.334"), "EUR", ("33.33", "33.33", "33.34")),
        (("0.5", "0.5", "0.5", "0.5"), "JPY", ("1", "1", "0", "0")),
        (("0.0005", "0.0005"), "KWD", ("0.001", "0.000")),
        (("-0.335", "-0.335"), "EUR", ("-0.33", "-0.34")),
        (("100", "-0.004"), "EUR", ("100.00", "0.00")),
        (("2.5",), "JPY", ("3",)),
        (("-2.5",), "JPY", ("-3",)),
        ((), "EUR", ()),
    ],
)
def test_largest_remainder(
    amounts: tuple[str, ...], currency: str, expected: tuple[str, ...]
) -> None:
    assert largest_remainder(decimals(*amounts), currency) == decimals(*expected)


@given(st.lists(AMOUNT, max_size=40), st.sampled_from(sorted(MINOR_UNITS)))
def test_lines_sum_to_the_rounded_total(amounts: list[Decimal], currency: str) -> None:
    unit = Decimal(1).scaleb(-minor_units(currency))
    rounded = largest_remainder(amounts, currency)
    assert add(rounded) == round_total(add(amounts), currency)
    assert abs(round_total(add(amounts), currency) - add(amounts)) <= unit / 2
    for line, amount in zip(rounded, amounts, strict=True):
        assert abs(line - amount) < unit
        assert line % unit == 0


@given(st.lists(AMOUNT, min_size=1, max_size=10))
def test_rounding_again_changes_nothing(amounts: list[Decimal]) -> None:
    rounded = largest_remainder(amounts, "EUR")
    assert largest_remainder(rounded, "EUR") == rounded


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.1666666667, "0.166667"),
        (99_999.4, "99999.4"),
        (99_999.6, "100,000"),
        (1.49e10, "14,900,000,000"),
        (-2_682_000.0, "-2,682,000"),
    ],
)
def test_figures_have_six_digits_or_are_whole(figure: float | None, text: str) -> None:
    assert figure_text(figure) == text
