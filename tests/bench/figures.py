"""From what was measured to figures, and which of them miss their targets. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from tests.bench.agent import AgentMeasured
from tests.bench.kept import Kept
from tests.bench.prometheus import NAME as PROMETHEUS
from tests.bench.scale import Scaled
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
    Target("collector_vs_telegraf_cpu_ratio_as_shipped", 0.25),
    Target("collector_vs_telegraf_cpu_ratio_same_points", 0.4),
    Target("server_side_vs_prometheus_cpu_ratio", 0.3),
    Target("collector_cpu_ratio_100k_to_1k", 1.1),
    Target("collector_cores_at_100k_at_1s", 1.0),
    Target("server_side_cores_at_100k_at_5s", 2.0),
    Target("collector_kb_per_accelerator", 1.5),
    Target("freshness_p99_ms", 2000.0),
    Target("wire_bytes_per_sample", 140.0),
    Target("rollup_query_ms_30d", 200.0),
    Target("agent_cpu_percent", 0.3),
    Target("agent_pss_mb", 50.0),
    Target("samples_lost", 0.0),
    Target("samples_not_taken_at_100k_at_1s", 0.0),
    Target("samples_not_taken_at_100k_at_5s", 0.0),
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


def of_scraped(measured: Sequence[Measured], scraped: Sequence[Measured]) -> list[Figure]:
    """Return what Prometheus cost, and what all of ours cost beside it, round by round."""
    theirs = [cpu_us_per_sample(m) for m in scraped]
    ours = [server_side_us(m) for m in measured if m.consumer == AS_SHIPPED]
    return [
        Figure(f"{PROMETHEUS}_cpu_us_per_sample", median(theirs), "us"),
        Figure(f"{PROMETHEUS}_pss_mb", median(m.pss_bytes for m in scraped) / MEGABYTE, "MB"),
        Figure("server_side_cpu_us_per_sample", median(ours), "us"),
        _ratio("server_side_vs_prometheus_cpu_ratio", ours, theirs),
    ]


def server_side_us(measured: Measured) -> float:
    """Return the CPU time of broker, consumer and database per sample, in microseconds."""
    whole = measured.cpu_seconds + measured.influx_cpu_seconds + measured.broker_cpu_seconds
    return whole / measured.samples * MICRO


def of_sizes(scaled: Sequence[Scaled]) -> list[Figure]:
    """Return the figures of the largest fleets, and of the curve up to them."""
    figures: list[Figure] = []
    curve = sorted((s for s in scaled if s.size.mode == "without_detail"), key=_accelerators)
    if len(curve) > 1:
        least, most = curve[0], curve[-1]
        ratio = cpu_us_per_sample(most.measured) / cpu_us_per_sample(least.measured)
        figures.append(Figure("collector_cpu_ratio_100k_to_1k", ratio, "ratio"))
        more = most.measured.pss_bytes - least.measured.pss_bytes
        each = more / (_accelerators(most) - _accelerators(least))
        figures.append(Figure("collector_kb_per_accelerator", each / 1000, "kB"))
    shipped = [s for s in scaled if s.size.mode == "as_shipped"]
    for length in sorted({s.size.length_seconds for s in shipped}):
        largest = max((s for s in shipped if s.size.length_seconds == length), key=_accelerators)
        figures += _of_largest(largest)
    fresh = [s for s in shipped if s.freshness_seconds]
    if fresh:
        seconds = sorted(min(fresh, key=_accelerators).freshness_seconds)
        last = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
        figures.append(Figure("freshness_p50_ms", median(seconds) * 1000, "ms"))
        figures.append(Figure("freshness_p99_ms", last * 1000, "ms"))
    return figures


def _accelerators(scaled: Scaled) -> int:
    return scaled.size.accelerators


def _of_largest(largest: Scaled) -> list[Figure]:
    size, measured = largest.size, largest.measured
    at = f"at_{size.length_seconds}s"
    # What one core could take, were it busy with nothing but this; what was not taken, whenever it
    # was, counts as if it had been of the measured stretch.
    taken = 1.0 - measured.lost / measured.samples
    most = taken * size.accelerators * measured.seconds / measured.cpu_seconds
    whole = size.accelerators / size.length_seconds * server_side_us(measured) / MICRO
    cores = measured.cpu_seconds / measured.seconds
    found = [
        Figure(f"max_accelerators_per_core_{at}", most, "accelerators"),
        Figure(f"collector_cores_at_100k_{at}", cores, "cores"),
        Figure(f"samples_not_taken_at_100k_{at}", float(measured.lost), "count"),
    ]
    if size.store == "InfluxDB":
        pss = measured.pss_bytes / MEGABYTE
        found.append(Figure("collector_pss_mb_at_100k", pss, "MB"))
        found.append(Figure(f"server_side_cores_at_100k_{at}", whole, "cores"))
    return found


def of_kept(kept: Kept) -> list[Figure]:
    """Return what the store's hour weighs, and how long a month's panel takes."""
    hour = kept.bytes_per_accelerator_hour
    return [
        Figure("influx_bytes_per_accelerator_hour", hour, "bytes"),
        Figure("rollup_query_ms_30d", kept.query_ms_30d, "ms"),
    ]


def of_nvitop(measured: AgentMeasured) -> list[Figure]:
    """Return the figures of nvitop-exporter."""
    percent = 100.0 * measured.cpu_seconds / measured.seconds
    return [
        Figure("nvitop_exporter_cpu_percent", percent, "percent"),
        Figure("nvitop_exporter_pss_mb", measured.pss_bytes / MEGABYTE, "MB"),
    ]


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
