"""Amounts are divided over the grid exactly."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent.grid import Piece, interval_start, split


def test_a_slice_over_an_edge_is_divided_by_time() -> None:
    assert list(split(4_000, 6_000, 101, 5_000)) == [
        Piece(0, 4_000, 5_000, 50),
        Piece(5_000, 5_000, 6_000, 51),
    ]


def test_what_was_counted_up_to_an_edge_belongs_before_it() -> None:
    assert list(split(5_000, 5_000, 7, 5_000)) == [Piece(0, 5_000, 5_000, 7)]


@given(
    begin=st.integers(0, 10**6),
    length=st.integers(1, 10**6),
    ticks=st.integers(0, 10**12),
    grid=st.sampled_from([1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000]),
)
def test_the_pieces_are_whole_adjacent_and_sum_exactly(
    begin: int, length: int, ticks: int, grid: int
) -> None:
    pieces = list(split(begin, begin + length, ticks, grid))

    assert sum(piece.ticks for piece in pieces) == ticks
    assert pieces[0].from_milliseconds == begin
    assert pieces[-1].to_milliseconds == begin + length
    for piece in pieces:
        assert piece.ticks >= 0
        assert piece.interval_milliseconds == interval_start(piece.from_milliseconds, grid)
        assert piece.to_milliseconds <= piece.interval_milliseconds + grid
    for one, other in pairwise(pieces):
        assert one.to_milliseconds == other.from_milliseconds
