"""Decimal arithmetic of money: 50 digits where something is divided.

One rule for floats, here and in every formula: a float means the decimal that it is written as.
0.1 is one tenth, whether it was measured, stored or typed.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

CONTEXT: Final = Context(
    prec=50, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow]
)
JOULES_PER_KWH: Final = Decimal(3_600_000)
ZERO: Final = Decimal(0)
_SHARE_DIGITS: Final = Decimal("1e-30")


def exact(value: float | Decimal, name: str = "") -> Decimal:
    """Return the decimal that a number is written as; raise ``ValueError`` for what is not finite.

    ``name`` is what the error calls it.
    """
    decimal = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not decimal.is_finite():
        raise ValueError(f"found {name} {value}, allowed: a finite number".replace("  ", " "))
    # Without the .0 of a whole float, for what is written of it.
    return decimal.to_integral_value() if decimal == decimal.to_integral_value() else decimal


def kwh_from_joules(energy_joules: float | Decimal) -> Decimal:
    """Return joules / 3.6e6; raise ``ValueError`` for what is not finite (SI: 1 kWh = 3.6 MJ)."""
    return CONTEXT.divide(exact(energy_joules), JOULES_PER_KWH)


def add(values: Iterable[Decimal]) -> Decimal:
    """Return the sum to 50 digits, where the built-in ``sum`` keeps 28."""
    total = ZERO
    for value in values:
        total = CONTEXT.add(total, value)
    return total


def multiply(*factors: Decimal) -> Decimal:
    """Return the product to 50 digits."""
    product = Decimal(1)
    for factor in factors:
        product = CONTEXT.multiply(product, factor)
    return product


def even_share(amount: Decimal, index: int, parts: int) -> Decimal:
    """Return part ``index`` of an amount spread evenly, such that the parts sum to it exactly.

    Parts differ in the 30th decimal at most. Raise ``ValueError`` for an index beyond the parts.
    """
    if not 0 <= index < parts:
        raise ValueError(f"found index {index}, allowed: 0 to {parts - 1}")
    return CONTEXT.subtract(_until(amount, index + 1, parts), _until(amount, index, parts))


def _until(amount: Decimal, index: int, parts: int) -> Decimal:
    if index == parts:
        return amount
    share = CONTEXT.divide(CONTEXT.multiply(amount, Decimal(index)), Decimal(parts))
    return share.quantize(_SHARE_DIGITS, context=CONTEXT)
