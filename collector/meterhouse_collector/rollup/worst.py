"""Of several methods or qualities the one to tell of the whole: the worst."""

from typing import Final, get_args

from meterhouse_agent import wire
from meterhouse_collector.shares import METHODS

QUALITIES: Final[tuple[wire.Quality, ...]] = get_args(wire.Quality)


def worst_method(one: wire.Method | None, other: wire.Method) -> wire.Method:
    """Return the worse of two methods; None is that of nothing."""
    return other if one is None else max(one, other, key=METHODS.index)


def worst_quality(one: wire.Quality | None, other: wire.Quality) -> wire.Quality:
    """Return the worse of two qualities; None is that of nothing."""
    return other if one is None else max(one, other, key=QUALITIES.index)
