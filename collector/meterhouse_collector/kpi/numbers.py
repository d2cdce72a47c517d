"""What every formula asks of its inputs."""

import math
from decimal import Decimal


def not_negative(**amounts: float | Decimal | None) -> None:
    """Raise ValueError that names each amount below zero or not finite; None is no amount."""
    wrong = [
        f"{name} is {amount}: a finite number of at least 0"
        for name, amount in amounts.items()
        if amount is not None and not (math.isfinite(amount) and amount >= 0)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def positive(**amounts: float | Decimal | None) -> None:
    """Raise ValueError that names each amount that is not finite and above zero."""
    wrong = [
        f"{name} is {amount}: a finite number above 0"
        for name, amount in amounts.items()
        if amount is not None and not (math.isfinite(amount) and amount > 0)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def share(**ratios: float | Decimal | None) -> None:
    """Raise ValueError that names each ratio outside 0 to 1."""
    wrong = [
        f"{name} is {ratio}: 0 to 1"
        for name, ratio in ratios.items()
        if ratio is not None and not 0 <= ratio <= 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
