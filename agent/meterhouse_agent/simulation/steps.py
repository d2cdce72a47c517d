"""Step functions of time with exact integrals: what every amount of the simulation is.

A function repeats with a period and is constant within a block. Times are whole milliseconds
since the fleet's origin; an integral is value times milliseconds since the origin, an integer.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Protocol

# Sums are kept for every so many blocks, so that a month of nodes fits into memory.
_STRIDE: Final = 16

Window = tuple[int, int]


class Steps(Protocol):
    """A step function of the time since the origin."""

    def value(self, at: int) -> int:
        """Return the value in the block that this millisecond lies in."""

    def integral(self, until: int) -> int:
        """Return the integral from the origin until a time, in value times milliseconds."""


class Grid:
    """Where blocks lie: ``count`` blocks of equal length, over and over, one edge at an offset."""

    __slots__ = ("block", "count", "offset", "period")

    def __init__(self, *, block: int, count: int, offset: int) -> None:
        self.block = block
        self.count = count
        self.offset = offset
        self.period = block * count

    def index(self, at: int) -> int:
        """Return the number of the block that a millisecond lies in."""
        return (at - self.offset) % self.period // self.block


class CodedSteps:
    """A step function of one byte per block, with a table of what each byte is worth."""

    __slots__ = ("_base", "_codes", "_grid", "_last", "_sums", "_table")

    def __init__(self, grid: Grid, codes: bytes, table: Sequence[int]) -> None:
        self._grid = grid
        self._codes = codes
        self._table = table
        strides = (codes[at : at + _STRIDE] for at in range(0, len(codes), _STRIDE))
        sums = (sum(map(table.__getitem__, stride)) for stride in strides)
        self._sums = array("q", accumulate(sums, initial=0))
        self._last = (0, 0)
        self._base = 0
        self._base = self.integral(0)

    def value(self, at: int) -> int:
        """Return the value in the block that this millisecond lies in."""
        return self._table[self._codes[self._grid.index(at)]]

    def integral(self, until: int) -> int:
        """Return the integral from the origin until a time, in value times milliseconds."""
        grid = self._grid
        rounds, rest = divmod(until - grid.offset, grid.period)
        block, part = divmod(rest, grid.block)
        # A reader mostly stays in one block; the pair is one reference, so it is never half new.
        last, before = self._last
        if last != block:
            before = self._before(block)
            self._last = (block, before)
        blocks = rounds * self._sums[-1] + before
        return blocks * grid.block + self._table[self._codes[block]] * part - self._base

    def _before(self, block: int) -> int:
        stride = block // _STRIDE
        rest = self._codes[stride * _STRIDE : block]
        return self._sums[stride] + sum(map(self._table.__getitem__, rest))


class SummedSteps:
    """The sum of step functions that share one grid."""

    __slots__ = ("_base", "_grid", "_sums", "_values")

    def __init__(self, grid: Grid, values: Sequence[int]) -> None:
        self._grid = grid
        self._values = array("q", values)
        self._sums = array("q", accumulate(values, initial=0))
        self._base = 0
        self._base = self.integral(0)

    def value(self, at: int) -> int:
        """Return the value in the block that this millisecond lies in."""
        return self._values[self._grid.index(at)]

    def integral(self, until: int) -> int:
        """Return the integral from the origin until a time, in value times milliseconds."""
        grid = self._grid
        rounds, rest = divmod(until - grid.offset, grid.period)
        block, part = divmod(rest, grid.block)
        blocks = rounds * self._sums[-1] + self._sums[block]
        return blocks * grid.block + self._values[block] * part - self._base


class Overridden:
    """Step functions summed, but constant in some windows; windows are sorted and disjoint."""

    __slots__ = ("_constant", "_past", "_steps", "_windows")

    def __init__(self, steps: Sequence[Steps], windows: Sequence[Window], constant: int) -> None:
        self._steps = steps
        self._windows = windows
        self._constant = constant
        self._past = [self._change(start, end) for start, end in windows]

    def value(self, at: int) -> int:
        """Return the value in the block, or window, that this millisecond lies in."""
        if inside(self._windows, at):
            return self._constant
        return sum(steps.value(at) for steps in self._steps)

    def integral(self, until: int) -> int:
        """Return the integral from the origin until a time, in value times milliseconds."""
        total = self._plain(until)
        for (start, end), change in zip(self._windows, self._past, strict=True):
            if until >= end:
                total += change
            elif until > start:
                total += self._change(start, until)
        return total

    def _plain(self, until: int) -> int:
        return sum(steps.integral(until) for steps in self._steps)

    def _change(self, start: int, until: int) -> int:
        return self._constant * (until - start) - self._plain(until) + self._plain(start)


def inside(windows: Sequence[Window], at: int) -> bool:
    """Tell whether a millisecond lies in one of the half-open windows."""
    return any(start <= at < end for start, end in windows)


def merged(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Return the same half-open windows sorted and without overlaps."""
    result: list[Window] = []
    for start, end in sorted(windows):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)
