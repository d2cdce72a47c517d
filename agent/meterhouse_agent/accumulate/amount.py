"""One counted quantity of one thing: its readings in, whole ticks per interval out.

Whatever cannot be laid into open intervals becomes a span, so that the sum of what was reported
always is the last reading less the first.
"""

from typing import NamedTuple

from msgspec import Struct

from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.counters import CounterTrack, Delta, Verdict
from meterhouse_agent.grid import Piece, split
from meterhouse_agent.samples import Counter
from meterhouse_agent.wire import Method


class KeptReading(Struct, frozen=True):
    """A reading as the spool keeps it: where a counter stood at the end of the last report."""

    whose: Whose
    ticks: int
    unit: float
    epoch: str
    at_milliseconds: int


class Laid(NamedTuple):
    """What one reading added to the open intervals."""

    pieces: tuple[Piece, ...]
    unit: float


NOTHING = Laid((), 1.0)


class Amount:
    """Follows one counter and lays its deltas on the grid."""

    __slots__ = ("_kept", "_open_ticks", "_steps", "_track", "reset_seen", "resets", "whose")

    def __init__(self, whose: Whose) -> None:
        self.whose = whose
        self.resets = 0
        self.reset_seen = False
        self._track = CounterTrack()
        self._open_ticks: dict[int, int] = {}
        self._steps = 0
        self._kept = False

    @property
    def started(self) -> bool:
        """Whether a reading was ever taken."""
        return self._track.last is not None

    @property
    def last(self) -> Counter | None:
        """The reading that counts as the base now."""
        return self._track.last

    @property
    def at_milliseconds(self) -> int:
        """When the base was read."""
        return self._track.at_milliseconds

    def feed(
        self,
        counter: Counter,
        at_milliseconds: int,
        timeline: Timeline,
        max_gap_milliseconds: float,
    ) -> Laid:
        """Take a reading; return the pieces for open intervals, the rest goes into spans."""
        stepped = self._steps != timeline.steps
        self._track.stepped = stepped
        delta = self._track.feed(counter, at_milliseconds)
        if delta is None:
            self._steps = timeline.steps
            return NOTHING
        if delta.verdict is not Verdict.GROWTH:
            timeline.events[f"counter_{delta.verdict.value}"] += 1
        if delta.verdict in (Verdict.RESTART, Verdict.SWAP):
            self.resets += 1
            self.reset_seen = True
            self._open_ticks.clear()
        if delta.ticks is None:
            if delta.verdict is Verdict.SWAP:
                self._steps, self._kept = timeline.steps, False
            return NOTHING
        reason = self._reason(delta, max_gap_milliseconds, stepped=stepped)
        self._steps, self._kept = timeline.steps, False
        if reason is not None:
            timeline.add_span(self.whose, delta, _si(delta.ticks, counter.unit), reason)
            return NOTHING
        laid = lay(delta, counter.unit, timeline, self.whose)
        for piece in laid.pieces:
            held = self._open_ticks.get(piece.interval_milliseconds, 0)
            self._open_ticks[piece.interval_milliseconds] = held + piece.ticks
        return laid

    def _reason(self, delta: Delta, max_gap_milliseconds: float, *, stepped: bool) -> str | None:
        if self._kept:
            return "restart"
        if stepped:
            return "clock_step"
        if delta.to_milliseconds - delta.from_milliseconds > max_gap_milliseconds:
            return "gap"
        return None

    def close(self, interval_milliseconds: int) -> None:
        """Forget what was laid into an interval that is reported now."""
        for start in [s for s in self._open_ticks if s <= interval_milliseconds]:
            del self._open_ticks[start]

    def keep(self, timeline: Timeline) -> KeptReading | None:
        """Return where the counter stood at the end of the last closed interval."""
        last = self._track.last
        if last is None:
            return None
        open_ticks = sum(self._open_ticks.values())
        at = self._track.at_milliseconds
        if self._open_ticks:
            at = min(at, timeline.closed_until_milliseconds)
        return KeptReading(self.whose, last.ticks - open_ticks, last.unit, last.epoch, at)

    def restore(self, kept: KeptReading) -> None:
        """Go on from a reading of an earlier life: what was counted since becomes a span."""
        counter = Counter(ticks=kept.ticks, unit=kept.unit, epoch=kept.epoch)
        self._track.start(counter, kept.at_milliseconds)
        self._kept = True


def _si(ticks: int, unit: float) -> float:
    # Nine decimals remove the noise of multiplying by 0.001 and keep every instrument's tick.
    return round(ticks * unit, 9)


def lay(
    delta: Delta,
    unit: float,
    timeline: Timeline,
    whose: Whose,
    method: Method = "interpolated",
) -> Laid:
    """Divide the ticks of a delta over open intervals; what falls into closed ones is a span."""
    pieces = []
    late = 0
    closed = timeline.closed_until_milliseconds
    parts = split(
        delta.from_milliseconds,
        delta.to_milliseconds,
        delta.ticks or 0,
        timeline.length_milliseconds,
    )
    for piece in parts:
        if piece.interval_milliseconds < closed:
            late += piece.ticks
        else:
            timeline.touch(piece.interval_milliseconds)
            pieces.append(piece)
    if delta.from_milliseconds < closed:
        # Up to its reading: several that come late, one after the other, do not overlap.
        until = min(delta.to_milliseconds, closed)
        stretch = Delta(delta.from_milliseconds, until, late, delta.verdict)
        timeline.add_span(whose, stretch, _si(late, unit), "late_reading", method)
    return Laid(tuple(pieces), unit)


class IntervalSums:
    """Ticks of one counter per open interval, as an amount in the counter's SI unit."""

    __slots__ = ("_sums", "unit")

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}
        self.unit = 1.0

    def add(self, laid: Laid) -> None:
        """Add what one reading laid."""
        for piece in laid.pieces:
            self.unit = laid.unit
            held = self._sums.get(piece.interval_milliseconds, 0)
            self._sums[piece.interval_milliseconds] = held + piece.ticks

    def take(self, interval_milliseconds: int) -> float | None:
        """Hand out the amount of an interval, ``None`` if nothing was laid into it."""
        ticks = self._sums.pop(interval_milliseconds, None)
        return None if ticks is None else _si(ticks, self.unit)
