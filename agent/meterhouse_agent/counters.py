"""The one place where absolute readings become deltas, and where a counter's jumps are judged."""

from enum import StrEnum
from typing import Final, NamedTuple

from meterhouse_agent.samples import Counter

# A counter that fell to this share of what it was, or less, has started again; one that fell by
# less was read out of order or rounded (17 then 15 kWh is no 15 kWh of energy).
_JITTER_SHARE: Final = 0.8
# Counters are brought up to date by their instrument, not by our reading: a bound on growth allows
# for what it held back.
_LAG_SECONDS: Final = 1.0
_SUSPECT_READINGS: Final = 3


class Verdict(StrEnum):
    """What a reading is, seen from the one before it."""

    GROWTH = "growth"
    ROLLOVER = "rollover"
    RESTART = "restart"
    JITTER = "jitter"
    JUMP = "jump"
    SWAP = "swap"


class Judgement(NamedTuple):
    """A verdict, and the ticks that were counted; ``None`` where that cannot be known."""

    verdict: Verdict
    ticks: int | None


def judge(before: Counter, after: Counter, elapsed_seconds: float | None) -> Judgement:
    """Judge a reading by epoch, modulus, physical bound and size of the fall, in that order.

    ``elapsed_seconds`` of ``None`` means that the time between them is not known (the clock was
    stepped): then no bound applies.
    """
    bound = _bound_ticks(after, elapsed_seconds)
    grown = after.ticks - before.ticks
    if before.epoch and after.epoch and before.epoch != after.epoch:
        return _since_zero(after, bound)
    if grown >= 0:
        if bound is not None and grown > bound:
            return Judgement(Verdict.JUMP, None)
        return Judgement(Verdict.GROWTH, grown)
    if after.modulus_ticks is not None:
        wrapped = grown + after.modulus_ticks
        if 0 <= wrapped <= (after.modulus_ticks // 2 if bound is None else bound):
            return Judgement(Verdict.ROLLOVER, wrapped)
    if after.ticks > before.ticks * _JITTER_SHARE and (bound is None or -grown <= bound):
        return Judgement(Verdict.JITTER, None)
    return _since_zero(after, bound)


def _bound_ticks(after: Counter, elapsed_seconds: float | None) -> float | None:
    if after.rate_max is None or elapsed_seconds is None:
        return None
    return after.rate_max * (elapsed_seconds + _LAG_SECONDS) / after.unit + 1


def _since_zero(after: Counter, bound: float | None) -> Judgement:
    if after.ticks < 0:
        # No register counts below zero: it was read wrongly, and says nothing.
        return Judgement(Verdict.JITTER, None)
    if bound is not None and after.ticks > bound:
        return Judgement(Verdict.SWAP, None)
    return Judgement(Verdict.RESTART, after.ticks)


class Delta(NamedTuple):
    """What a counter counted between two readings; ``ticks`` of ``None`` is not known."""

    from_milliseconds: int
    to_milliseconds: int
    ticks: int | None
    verdict: Verdict


class CounterTrack:
    """Follows one counter from reading to reading.

    A reading that jumps, or falls by a little, is held suspect and the one before it stays the
    base; only when it stays so for a few readings is it believed, and what was counted meanwhile
    is then not known.
    """

    __slots__ = ("_suspects", "at_milliseconds", "last", "stepped")

    def __init__(self) -> None:
        self.last: Counter | None = None
        self.at_milliseconds = 0
        self.stepped = False
        self._suspects = 0

    def start(self, counter: Counter, at_milliseconds: int) -> None:
        """Take a reading as the base: the first one, or one kept from before a restart."""
        self.last, self.at_milliseconds, self._suspects = counter, at_milliseconds, 0

    def feed(self, counter: Counter, at_milliseconds: int) -> Delta | None:
        """Take the next reading; return what was counted since the base, ``None`` if nothing is."""
        before, since = self.last, self.at_milliseconds
        if before is None or before.unit != counter.unit:
            self.start(counter, at_milliseconds)
            return None
        elapsed = None if self.stepped else (at_milliseconds - since) / 1000
        judgement = judge(before, counter, elapsed)
        if judgement.verdict in (Verdict.JITTER, Verdict.JUMP, Verdict.SWAP):
            self._suspects += 1
            if self._suspects < _SUSPECT_READINGS:
                return Delta(at_milliseconds, at_milliseconds, None, judgement.verdict)
            judgement = Judgement(Verdict.SWAP, None)
        self.start(counter, at_milliseconds)
        self.stepped = False
        return Delta(since, at_milliseconds, judgement.ticks, judgement.verdict)
