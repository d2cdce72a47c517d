"""How long one accelerator was in which state, and what it drew in it, per interval."""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from meterhouse_agent.accumulate.amount import IntervalSums, Laid
from meterhouse_agent.partitions import apportion, apportion_energy
from meterhouse_agent.wire import State

Shares = Mapping[State, int]


class StateTotals(NamedTuple):
    """One interval's sums; ``is_divided`` says that energy went to several states at once."""

    milliseconds: dict[State, int]
    joules: dict[State, float]
    is_divided: bool


class StateSums:
    """Sums up the open intervals of one accelerator; shares say in how many parts of it."""

    __slots__ = ("_divided", "_joules", "_milliseconds", "_parted")

    def __init__(self) -> None:
        self._milliseconds: dict[tuple[int, State], int] = {}
        self._parted: dict[int, dict[State, Fraction]] = {}
        self._joules: dict[State, IntervalSums] = {}
        self._divided: set[int] = set()

    def add_time(self, interval_milliseconds: int, shares: Shares, milliseconds: int) -> None:
        """Add a stretch of time in which the parts of the accelerator were in these states."""
        if len(shares) == 1:
            for state in shares:
                key = (interval_milliseconds, state)
                self._milliseconds[key] = self._milliseconds.get(key, 0) + milliseconds
            return
        # Rounded once, when the interval is over: a millisecond of each sample would add up.
        parted = self._parted.setdefault(interval_milliseconds, {})
        whole = sum(shares.values())
        for state, parts in shares.items():
            parted[state] = parted.get(state, Fraction()) + Fraction(milliseconds * parts, whole)

    def add_energy(self, laid: Laid, shares: Shares, floor_watts: float | None) -> None:
        """Add what the accelerator drew; ``floor_watts`` is the least it was seen to draw."""
        if len(shares) == 1:
            for state in shares:
                self._energy_of(state).add(laid)
            return
        for piece in laid.pieces:
            self._divided.add(piece.interval_milliseconds)
            idle = None
            if floor_watts is not None:
                milliseconds = max(0, piece.to_milliseconds - piece.from_milliseconds)
                idle = round(floor_watts * milliseconds / 1000 / laid.unit)
            for state, ticks in apportion_energy(piece.ticks, idle, shares).items():
                self._energy_of(state).add(laid._replace(pieces=(piece._replace(ticks=ticks),)))

    def _energy_of(self, state: State) -> IntervalSums:
        found = self._joules.get(state)
        if found is None:
            found = self._joules[state] = IntervalSums()
        return found

    def take(self, interval_milliseconds: int) -> StateTotals:
        """Hand out the sums of an interval; the times are whole milliseconds that sum exactly."""
        milliseconds: dict[State, int] = {}
        joules: dict[State, float] = {}
        for key in [k for k in self._milliseconds if k[0] == interval_milliseconds]:
            milliseconds[key[1]] = self._milliseconds.pop(key)
        parted = self._parted.pop(interval_milliseconds, None)
        if parted:
            for state, part in apportion(int(sum(parted.values())), parted).items():
                milliseconds[state] = milliseconds.get(state, 0) + part
        for state, sums in self._joules.items():
            amount = sums.take(interval_milliseconds)
            if amount is not None:
                joules[state] = amount
        is_divided = interval_milliseconds in self._divided
        self._divided.discard(interval_milliseconds)
        return StateTotals(milliseconds, joules, is_divided)
