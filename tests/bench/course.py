"""What a run of the benchmarks consists of."""

from typing import Final, NamedTuple

from tests.bench.stretch import Plan


class Course(NamedTuple):
    """What is run: the plans in intervals, the rounds, and the seconds of the agent."""

    nodes: int
    length_seconds: int
    rounds: int
    compared: Plan
    shipped: Plan
    agent_seconds: float
    agent_alone: bool

    @property
    def intervals(self) -> int:
        """How many intervals are recorded."""
        return max(self.compared.intervals, self.shipped.intervals)


# As shipped the detail is written once in 60 s: the stretch holds exactly one, and the warm-up
# another, because the first one costs more.
FULL: Final = Course(2500, 5, 3, Plan(1, 6), Plan(2, 12, align_seconds=60), 60.0, agent_alone=True)
QUICK: Final = Course(1000, 5, 1, Plan(1, 2), Plan(0, 12), 40.0, agent_alone=False)
