"""Parts and wholes: the check that a part is no larger, and the ratio that may have no value."""

import math

from meterhouse_collector.kpi.value import Reasoned


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, or None where there is nothing to divide by."""
    return part / whole if whole > 0 else None


def reasoned(part: float, whole: float, reason: str) -> Reasoned:
    """Return part / whole, or the reason why there is nothing to divide by."""
    return Reasoned(part / whole) if whole > 0 else Reasoned(None, reason)


def not_above(whole: float, whole_name: str, **parts: float | None) -> None:
    """Raise ValueError that names each part that is above its whole by more than rounding."""
    wrong = [
        f"{name} is {part}: at most {whole_name}, {whole}"
        for name, part in parts.items()
        if part is not None and part > whole and not math.isclose(part, whole, rel_tol=1e-9)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
