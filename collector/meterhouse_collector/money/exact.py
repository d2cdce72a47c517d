"""What money formulas are given, checked and made decimals; sums and splits that lose nothing."""

from collections.abc import Callable, Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from meterhouse_collector.money.decimals import CONTEXT, exact

Number = Decimal | float

# What is split is split into whole multiples of this, so that parts of parts still sum exactly.
QUANTUM: Final = Decimal("1e-24")

_P = ParamSpec("_P")
_R = TypeVar("_R")
# A sum that would have to be rounded is an error; what people pay is far from that.
_LOSSLESS: Final = Context(prec=400, traps=[Inexact, InvalidOperation, Overflow])


def precise(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function in the context of money, whatever the caller's is."""

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with localcontext(CONTEXT):
            return function(*args, **kwargs)

    return run


def signed(name: str, value: Number) -> Decimal:
    """Return a finite number as a decimal; raise ``ValueError`` for what is none."""
    return exact(value, name)


def amount(name: str, value: Number) -> Decimal:
    """Return a number of at least zero as a decimal; raise ``ValueError`` for what is none."""
    number = signed(name, value)
    if number < 0:
        raise ValueError(f"found {name} {value}, allowed: a finite number from 0")
    return number


def positive(name: str, value: Number) -> Decimal:
    """Return a number above zero as a decimal; raise ``ValueError`` for what is none."""
    number = signed(name, value)
    if number <= 0:
        raise ValueError(f"found {name} {value}, allowed: a finite number above 0")
    return number


def share(name: str, value: Number) -> Decimal:
    """Return a number from 0 to 1 as a decimal; raise ``ValueError`` for what is none."""
    number = signed(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"found {name} {value}, allowed: 0 to 1")
    return number


def total(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum, in any order the same."""
    result = Decimal(0)
    for value in values:
        result = _LOSSLESS.add(result, value)
    return result
