"""The grid of intervals, and the exact division of an amount over it. All times in milliseconds."""

from collections.abc import Iterator
from typing import NamedTuple


class Piece(NamedTuple):
    """The part of a slice that lies in one interval."""

    interval_milliseconds: int
    from_milliseconds: int
    to_milliseconds: int
    ticks: int


def interval_start(at_milliseconds: int, length_milliseconds: int) -> int:
    """Return the start of the interval that holds an instant."""
    return at_milliseconds - at_milliseconds % length_milliseconds


def split(
    from_milliseconds: int, to_milliseconds: int, ticks: int, length_milliseconds: int
) -> Iterator[Piece]:
    """Divide whole ticks linearly over the intervals a slice touches; the pieces sum exactly.

    A slice without length is one piece, in the interval that ends there if it stands on an edge:
    what was counted up to an instant belongs before it.
    """
    if to_milliseconds <= from_milliseconds:
        inside = interval_start(to_milliseconds - 1, length_milliseconds)
        yield Piece(inside, from_milliseconds, to_milliseconds, ticks)
        return
    given = 0
    left = from_milliseconds
    while left < to_milliseconds:
        start = interval_start(left, length_milliseconds)
        right = min(start + length_milliseconds, to_milliseconds)
        upto = ticks * (right - from_milliseconds) // (to_milliseconds - from_milliseconds)
        yield Piece(start, left, right, upto - given)
        given, left = upto, right
