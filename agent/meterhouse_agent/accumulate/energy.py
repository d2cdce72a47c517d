"""Energy of one thing: from its counter, or where it has none, from its power."""

from typing import Final

from meterhouse_agent.accumulate.amount import NOTHING, Amount, Laid, lay
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.counters import Delta, Verdict
from meterhouse_agent.samples import Counter
from meterhouse_agent.wire import Method

_MILLIJOULE: Final = 0.001


class Energy:
    """Lays the energy of one thing on the grid.

    Power is integrated (trapezoid) only while no counter was ever read: a counter that is missing
    for a while gives the whole amount when it comes back, and both would count twice.
    """

    __slots__ = ("_power", "_power_at", "_steps", "amount", "method")

    def __init__(self, whose: Whose) -> None:
        self.amount = Amount(whose)
        self.method: Method = "counter"
        self._power: float | None = None
        self._power_at = 0
        self._steps = 0

    def feed(
        self,
        counter: Counter | None,
        power_watts: float | None,
        at_milliseconds: int,
        timeline: Timeline,
        max_gap_milliseconds: float,
    ) -> Laid:
        """Take one reading of the counter, the power, or both."""
        if counter is not None:
            self.method = "counter"
            return self.amount.feed(counter, at_milliseconds, timeline, max_gap_milliseconds)
        if power_watts is None or self.amount.started:
            return NOTHING
        return self._integrate(power_watts, at_milliseconds, timeline, max_gap_milliseconds)

    def _integrate(
        self,
        power_watts: float,
        at_milliseconds: int,
        timeline: Timeline,
        max_gap_milliseconds: float,
    ) -> Laid:
        before, since, steps = self._power, self._power_at, self._steps
        self._power, self._power_at, self._steps = power_watts, at_milliseconds, timeline.steps
        elapsed = at_milliseconds - since
        if before is None or steps != timeline.steps or not 0 < elapsed <= max_gap_milliseconds:
            return NOTHING
        self.method = "integrated"
        ticks = max(0, round((before + power_watts) / 2 * elapsed))
        delta = Delta(since, at_milliseconds, ticks, Verdict.GROWTH)
        return lay(delta, _MILLIJOULE, timeline, self.amount.whose, "integrated")
