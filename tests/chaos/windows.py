"""Fault windows: the stretches in which a node could not report, by the reports it made itself."""

from dataclasses import dataclass
from math import inf

from tests.e2e.fleet_run import Gap


@dataclass(slots=True)
class _Open:
    from_seconds: int
    past_seconds: float


class Windows:
    """Opens a window where an agent dies or its clock is stepped; its next report closes it.

    Nothing else opens one: what befalls broker, collector, database and the ways between must
    cost nothing. ``doubtful`` are nodes that were killed while their disk was full: what they told
    from memory they tell again.
    """

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.doubtful: set[str] = set()
        self._reported: dict[str, int] = {}
        self._open: dict[str, _Open] = {}

    @property
    def open_nodes(self) -> list[str]:
        """The nodes that have not reported since."""
        return sorted(self._open)

    def died(self, node: str) -> None:
        """Open a window that nothing closes until the agent is back."""
        self._begin(node, inf)

    def is_back(self, node: str, now_seconds: float) -> None:
        """Let a report of after now close the window of an agent that was dead."""
        self._open[node].past_seconds = max(int(now_seconds), self._reported.get(node, 0))

    def stepped(self, node: str, now_seconds: float) -> None:
        """Open a window around a step of the clock to now."""
        # What had ended before the step may still be reported.
        self._begin(node, max(int(now_seconds), self._reported.get(node, 0) + 2))

    def _begin(self, node: str, past_seconds: float) -> None:
        found = self._open.setdefault(node, _Open(self._reported.get(node, 0), past_seconds))
        # A step changes nothing for an agent that is dead.
        found.past_seconds = max(past_seconds, inf if found.past_seconds == inf else 0)

    def look(self, node: str, reported_until_seconds: int) -> None:
        """Take notice of how far a node has reported."""
        self._reported[node] = max(reported_until_seconds, self._reported.get(node, 0))
        found = self._open.get(node)
        if found is not None and reported_until_seconds > found.past_seconds:
            self.gaps.append(Gap(node, found.from_seconds, reported_until_seconds))
            del self._open[node]

    def excuse(self, node: str, start_seconds: int) -> bool:
        """Tell whether an interval of a node lies in a window."""
        return any(
            gap.node == node and gap.from_seconds <= start_seconds < gap.to_seconds
            for gap in self.gaps
        )
