"""Sums that stay exact while their terms come in batches: the order and the cut do not matter."""

from collections.abc import Iterable
from math import fsum


def exact_parts(terms: Iterable[float]) -> list[float]:
    """Return a few numbers with exactly the sum of the terms, the largest first.

    Each is what the rounded sum before it left (J. R. Shewchuk, "Adaptive Precision
    Floating-Point Arithmetic", 1997); the terms must be finite.
    """
    rest = list(terms)
    parts: list[float] = []
    while (part := fsum(rest)) != 0.0:
        parts.append(part)
        rest.append(-part)
    return parts


class Sum:
    """A sum that is None until something was added; exact, however often it was compressed."""

    __slots__ = ("_terms",)

    def __init__(self) -> None:
        self._terms: list[float] = []

    def add(self, value: float | None) -> None:
        """Add a value; None adds nothing."""
        if value is not None:
            self._terms.append(value)

    def compress(self) -> None:
        """Hold the same sum in few numbers."""
        if len(self._terms) > 1:
            self._terms = exact_parts(self._terms) or [0.0]

    @property
    def value(self) -> float | None:
        """The sum, rounded once."""
        return fsum(self._terms) if self._terms else None


class Mean:
    """A gauge's mean over the time it was read for; None where it never was."""

    __slots__ = ("_milliseconds", "_products")

    def __init__(self) -> None:
        self._products = Sum()
        self._milliseconds = 0

    def add(self, value: float | None, milliseconds: int) -> None:
        """Add a value that stood for some time; None adds nothing."""
        if value is not None and milliseconds > 0:
            self._products.add(value * milliseconds)
            self._milliseconds += milliseconds

    def compress(self) -> None:
        """Hold the same mean in few numbers."""
        self._products.compress()

    @property
    def value(self) -> float | None:
        """The mean."""
        total = self._products.value
        return None if total is None else total / self._milliseconds
