"""What a run of the benchmarks consists of."""

from typing import Final, NamedTuple

from tests.bench.scale import Size
from tests.bench.stretch import Plan


class Course(NamedTuple):
    """What is run: the plans in intervals, the rounds, and the seconds of the agents.

    ``beside`` runs what is no consumer of the same load at the same time as those, to be quick.
    """

    nodes: int
    length_seconds: int
    rounds: int
    compared: Plan
    shipped: Plan
    scraped: Plan
    scraped_nodes: int
    sizes: tuple[Size, ...]
    kept_nodes: int
    agent_seconds: float
    beside: bool

    @property
    def intervals(self) -> int:
        """How many intervals are recorded."""
        return max(self.compared.intervals, self.shipped.intervals)


_CURVE: Final = Plan(2, 4)
# As shipped the detail of each node is written once in 60 s: the stretch holds exactly one, and the
# warm-up another, because the first one costs more.
FULL: Final = Course(
    nodes=2500,
    length_seconds=5,
    rounds=2,
    compared=Plan(1, 6),
    shipped=Plan(12, 12),
    scraped=Plan(1, 5),
    scraped_nodes=2500,
    sizes=(
        *(Size(nodes, 5, "discards", _CURVE, "without_detail") for nodes in (125, 1250, 12_500)),
        Size(12_500, 1, "discards", Plan(8, 60)),
        Size(12_500, 5, "InfluxDB", Plan(3, 6)),
        # How fresh a KPI is, with the detail written once, and not for the first time.
        Size(6250, 5, "InfluxDB", Plan(12, 12)),
    ),
    kept_nodes=40,
    agent_seconds=60.0,
    beside=False,
)
QUICK: Final = Course(
    nodes=1000,
    length_seconds=5,
    rounds=1,
    compared=Plan(1, 2),
    shipped=Plan(0, 12),
    scraped=Plan(1, 2),
    scraped_nodes=250,
    sizes=(),
    kept_nodes=10,
    agent_seconds=40.0,
    beside=True,
)
