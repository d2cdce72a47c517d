"""Time-weighted means per interval."""

from meterhouse_agent.accumulate.timeline import Timeline
from meterhouse_agent.grid import split


class Gauge:
    """Means and maxima of one gauge per interval; a reading stands for the time up to it."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, int, float]] = {}

    def add(self, interval_milliseconds: int, value: float, milliseconds: int) -> None:
        """Add a value that stood for some time in one interval."""
        held = self._sums.get(interval_milliseconds)
        if held is None:
            self._sums[interval_milliseconds] = (value * milliseconds, milliseconds, value)
        else:
            most = max(value, held[2])
            self._sums[interval_milliseconds] = (
                held[0] + value * milliseconds,
                held[1] + milliseconds,
                most,
            )

    def take(self, interval_milliseconds: int) -> tuple[float, float] | None:
        """Hand out (mean, maximum) of an interval, ``None`` where nothing was read."""
        held = self._sums.pop(interval_milliseconds, None)
        if held is None or held[1] == 0:
            return None
        return held[0] / held[1], held[2]


class Coverage:
    """How much of each interval the readings of one thing cover."""

    __slots__ = ("_at", "_covered", "_steps")

    def __init__(self) -> None:
        self._covered: dict[int, int] = {}
        self._at: int | None = None
        self._steps = 0

    def reach(
        self,
        at_milliseconds: int,
        timeline: Timeline,
        max_gap_milliseconds: float,
    ) -> list[tuple[int, int]]:
        """Take the time of a reading; return (interval, milliseconds) it covers anew."""
        since, before = self._at, self._steps
        self._at, self._steps = at_milliseconds, timeline.steps
        if since is None or before != timeline.steps:
            return []
        if not 0 < at_milliseconds - since <= max_gap_milliseconds:
            return []
        slices = []
        since = max(since, timeline.closed_until_milliseconds)
        if since >= at_milliseconds:
            return []
        for piece in split(since, at_milliseconds, 0, timeline.length_milliseconds):
            timeline.touch(piece.interval_milliseconds)
            milliseconds = piece.to_milliseconds - piece.from_milliseconds
            slices.append((piece.interval_milliseconds, milliseconds))
            held = self._covered.get(piece.interval_milliseconds, 0)
            self._covered[piece.interval_milliseconds] = held + milliseconds
        return slices

    def take(self, interval_milliseconds: int) -> int:
        """Hand out the covered milliseconds of an interval."""
        return self._covered.pop(interval_milliseconds, 0)
