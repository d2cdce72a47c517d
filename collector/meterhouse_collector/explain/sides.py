"""Numerators and denominators: expressions of rollup fields, as the catalogue writes them. Pure."""

import re
from collections.abc import Iterator, Mapping
from math import fsum
from typing import Final, NamedTuple

_TERM: Final = re.compile(r"([+-]?)\s*([a-z_0-9]+)")


class Expression(NamedTuple):
    """A sum of fields, each with its sign."""

    text: str
    terms: tuple[tuple[float, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The fields in it."""
        return tuple(name for _, name in self.terms)

    def value(self, sums: Mapping[str, float]) -> float:
        """Return what it comes to; a field that is not there is zero."""
        return fsum(sign * sums.get(name, 0.0) for sign, name in self.terms)

    def written(self, sums: Mapping[str, float]) -> str:
        """Return it with values in place of names."""
        text = self.text
        for name in self.names:
            text = re.sub(rf"\b{name}\b", number(sums.get(name, 0.0)), text)
        return text if len(self.terms) == 1 else f"({text})"


def parse(text: str) -> Expression:
    """Return an expression like ``free_seconds - stranded_seconds``."""
    terms = tuple((-1.0 if m[1] == "-" else 1.0, m[2]) for m in _TERM.finditer(text))
    return Expression(text, terms)


def fields_in(text: str) -> tuple[str, ...]:
    """Return the words of an expression; of one that is a sum of fields, these are all fields."""
    return parse(text).names


def number(value: float) -> str:
    """Return a number with all digits that twelve places have: enough to divide by hand."""
    return f"{value:.12g}"


class Recorded(Mapping[str, float]):
    """Sums that note which of their fields were read."""

    def __init__(self, sums: Mapping[str, float]) -> None:
        self._sums = sums
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> float:
        self.names[name] = None
        return self._sums[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)
