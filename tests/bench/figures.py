"""From what was measured to figures, and which of them miss their targets. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from tests.bench.agent import AgentMeasured
from tests.bench.stretch import Measured

MICRO: Final = 1e6
MEGABYTE: Final = 1e6
AS_SHIPPED: Final = "collector-as-shipped"
SAME_POINTS: Final = "collector-same-points"
TELEGRAF: Final = "telegraf"
_SUFFIX: Final = {AS_SHIPPED: "", SAME_POINTS: "_same_points", TELEGRAF: "_telegraf"}


class Figure(NamedTuple):
    """One figure; its name is kept for ever."""

    name: str
    value: float
    unit: str

    def line(self) -> str:
        """Return the figure as it is printed."""
        return f"{self.name} {self.value:.4g} {self.unit}"


class Target(NamedTuple):
    """What a figure should be at most."""

    name: str
    at_most: float


TARGETS: Final = (
    Target("collector_cpu_us_per_sample", 15.0),
    Target("collector_vs_telegraf_cpu_ratio_same_points", 0.6),
    Target("agent_cpu_percent", 1.0),
    Target("agent_pss_mb", 60.0),
    Target("samples_lost", 0.0),
)


def cpu_us_per_sample(measured: Measured) -> float:
    """Return the consumer's own CPU time per accelerator sample, in microseconds."""
    return measured.cpu_seconds / measured.samples * MICRO


def of_stretches(measured: Sequence[Measured]) -> list[Figure]:
    """Return the figures of all rounds: medians, and the median of each round's ratio."""
    by_name = {name: [m for m in measured if m.consumer == name] for name in _SUFFIX}
    cpu = {name: [cpu_us_per_sample(m) for m in ms] for name, ms in by_name.items()}
    shipped = median(cpu[AS_SHIPPED])
    figures = [
        Figure("collector_cpu_us_per_sample", shipped, "us"),
        Figure("collector_cpu_us_per_sample_same_points", median(cpu[SAME_POINTS]), "us"),
        Figure("telegraf_cpu_us_per_sample", median(cpu[TELEGRAF]), "us"),
        _ratio("collector_vs_telegraf_cpu_ratio_same_points", cpu[SAME_POINTS], cpu[TELEGRAF]),
        _ratio("collector_vs_telegraf_cpu_ratio_as_shipped", cpu[AS_SHIPPED], cpu[TELEGRAF]),
        # A microsecond for each is a second for a million.
        Figure("collector_cpu_seconds_per_million_samples", shipped, "s"),
    ]
    for name, suffix in _SUFFIX.items():
        figures += _around(by_name[name], suffix)
    pss = median(m.pss_bytes for m in by_name[AS_SHIPPED])
    figures.append(Figure("collector_pss_mb", pss / MEGABYTE, "MB"))
    pss = median(m.pss_bytes for m in by_name[TELEGRAF])
    figures.append(Figure("telegraf_pss_mb", pss / MEGABYTE, "MB"))
    figures.append(Figure("samples_lost", float(sum(abs(m.lost) for m in measured)), "count"))
    return figures


def _ratio(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    # Within a round, so that what else the machine does weighs on both.
    return Figure(name, median(a / b for a, b in zip(ours, theirs, strict=True)), "ratio")


def _around(measured: Sequence[Measured], suffix: str) -> list[Figure]:
    influx = median(m.influx_cpu_seconds / m.samples * MICRO for m in measured)
    broker = median(m.broker_cpu_seconds / m.samples * MICRO for m in measured)
    wire = median(m.wire_bytes for m in measured)
    return [
        Figure(f"influx_cpu_us_per_sample{suffix}", influx, "us"),
        Figure(f"broker_cpu_us_per_sample{suffix}", broker, "us"),
        Figure(f"wire_bytes_per_sample{suffix}", wire, "bytes"),
    ]


def of_agent(measured: AgentMeasured) -> list[Figure]:
    """Return the figures of an agent and its children."""
    percent = 100.0 * measured.cpu_seconds / measured.seconds
    return [
        Figure("agent_cpu_percent", percent, "percent"),
        Figure("agent_pss_mb", measured.pss_bytes / MEGABYTE, "MB"),
    ]


def missed(figures: Sequence[Figure]) -> list[tuple[Figure, Target]]:
    """Return the figures that are above their target."""
    by_name = {figure.name: figure for figure in figures}
    pairs = [(by_name[target.name], target) for target in TARGETS if target.name in by_name]
    return [(figure, target) for figure, target in pairs if figure.value > target.at_most]
