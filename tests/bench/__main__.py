"""``python -m tests.bench``: measure, print one line per figure, and write them down.

Without ``--quick`` it also writes ``docs/benchmarks.md``. It exits with 1 where the run is void.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import document, figures, profiles
from tests.bench.agent import AgentMeasured, measure_agent, measure_nvitop
from tests.bench.consumers import BROKER_CONF, Collector, Consumer, Telegraf
from tests.bench.course import FULL, QUICK, Course
from tests.bench.figures import Figure
from tests.bench.fleet import DEVICES, Fleet
from tests.bench.kept import Kept, measure_kept
from tests.bench.load import Load, loading
from tests.bench.prometheus import measure_prometheus
from tests.bench.scale import Scaled, Size, measure_size
from tests.bench.stretch import Measured, Plan, measure
from tests.servers import InfluxDB, Mosquitto

_ROOT: Final = Path(__file__).parents[2]
_JSON: Final = _ROOT / "docs" / "bench.json"
_QUICK_JSON: Final = _ROOT / "build" / "bench.json"
_PAGE: Final = _ROOT / "docs" / "benchmarks.md"
_MAX_NODES: Final = 12_500
# The load must keep to its time, or the consumers were given another load than is written down.
_LATE_SECONDS: Final = 1.0
_NVITOP_SECONDS: Final = 20.0
_QUARTER_NODES: Final = 10_000


class Results(NamedTuple):
    """All that was measured."""

    stretches: list[Measured]
    scraped: list[Measured]
    scaled: list[Scaled]
    agent: AgentMeasured
    nvitop: AgentMeasured
    kept: Kept

    def figures(self) -> list[Figure]:
        """Return all figures."""
        return [
            *figures.of_stretches(self.stretches),
            *figures.of_scraped(self.stretches, self.scraped),
            *figures.of_sizes(self.scaled),
            *figures.of_kept(self.kept),
            *figures.of_agent(self.agent),
            *figures.of_nvitop(self.nvitop),
        ]

    def all_stretches(self) -> list[Measured]:
        """Return every stretch of every consumer."""
        return [*self.stretches, *self.scraped, *(each.measured for each in self.scaled)]


class Setup(NamedTuple):
    """The servers and consumers of a run."""

    broker: Mosquitto
    load: Load
    shipped: Collector
    same: Collector
    telegraf: Telegraf


@contextmanager
def setup(folder: Path, course: Course) -> Iterator[Setup]:
    """Run broker, databases and load inside the block."""
    fleet = Fleet(course.nodes, course.length_seconds)
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(folder / "broker", BROKER_CONF))
        ours, theirs = (
            stack.enter_context(InfluxDB(folder / f"influxdb-{name}")) for name in ("ours", "peer")
        )
        # Both modes fill the same series, so that as shipped none is new.
        shipped = Collector(folder / "collector", broker, ours, fleet, "as_shipped")
        same = Collector(folder / "collector", broker, ours, fleet, "same_points")
        telegraf = Telegraf(folder / "telegraf", broker, theirs, fleet)
        same.prepare()
        telegraf.prepare()
        load = stack.enter_context(loading(broker.port, fleet, course.intervals))
        yield Setup(broker, load, shipped, same, telegraf)


def main() -> int:
    """Run the benchmarks."""
    options = _options()
    course = QUICK if options.quick else FULL
    course = course._replace(nodes=options.nodes or course.nodes)
    with tempfile.TemporaryDirectory(prefix="meterhouse-bench-") as name:
        folder = Path(name)
        with setup(folder, course) as parts:
            results, profiled = _measured(parts, course, folder)
    found = results.figures()
    for figure in found:
        print(figure.line(), flush=True)
    void = _void(results, course)
    for reason in void:
        print(f"void: {reason}")
    for figure, target in figures.missed(found):
        print(f"missed: {figure.line()}, target {target.at_most:g}")
    _write_json(_QUICK_JSON if options.quick or void else _JSON, results, found, void)
    if not (options.quick or void):
        page = document.page(document.machine(), course, found, results, profiled)
        _PAGE.write_text(page, encoding="utf-8")
    return 1 if void else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, less exact")
    parser.add_argument("--nodes", type=int, help=f"of eight devices each; at most {_MAX_NODES}")
    options = parser.parse_args()
    if options.nodes is not None and not 10 <= options.nodes <= _MAX_NODES:
        parser.error(f"--nodes: from 10 to {_MAX_NODES}")
    return options


def _measured(
    parts: Setup, course: Course, folder: Path
) -> tuple[Results, list[profiles.Profiled]]:
    """Measure it all: the consumers in turn, what needs no load of theirs, then by size."""

    def others() -> tuple[list[Measured], AgentMeasured, Kept]:
        scraped = [_scrape(course, folder / f"scraped-{n}") for n in range(course.rounds)]
        _say("nvitop-exporter")
        nvitop = measure_nvitop(folder / "nvitop", _NVITOP_SECONDS)
        _say("an hour of a store, and a month's panel")
        kept = measure_kept(folder / "kept", nodes=course.kept_nodes, quarter_nodes=_QUARTER_NODES)
        return scraped, nvitop, kept

    if course.beside:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(others)
            stretches, agent = _run(parts, course, folder)
            scraped, nvitop, kept = future.result()
    else:
        stretches, agent = _run(parts, course, folder)
        scraped, nvitop, kept = others()
    profiled = [] if course.beside else _profiles(parts, course, stretches, folder)
    scaled = [_scale(course.sizes[n], folder / f"size-{n}") for n in range(len(course.sizes))]
    return Results(stretches, scraped, scaled, agent, nvitop, kept), profiled


def _scrape(course: Course, folder: Path) -> Measured:
    _say("prometheus")
    fleet = Fleet(course.scraped_nodes, course.length_seconds)
    plan = course.scraped
    measured = measure_prometheus(folder, fleet, plan.warm_up, plan.measured)
    _say(f"prometheus: {figures.cpu_us_per_sample(measured):.2f} us per sample")
    return measured


def _scale(size: Size, folder: Path) -> Scaled:
    _say(f"{size.accelerators} accelerators each {size.length_seconds} s, store: {size.store}")
    scaled = measure_size(folder, size)
    _say(f"{figures.cpu_us_per_sample(scaled.measured):.2f} us per sample")
    return scaled


def _run(parts: Setup, course: Course, folder: Path) -> tuple[list[Measured], AgentMeasured]:
    """Measure in turn, round by round: same points, the peer, as shipped; then the agent."""
    measured = []

    def stretch(consumer: Consumer, plan: Plan) -> None:
        _say(f"{consumer.name}: {plan.intervals * course.length_seconds} s")
        measured.append(measure(consumer, parts.load, plan))
        _say(f"{consumer.name}: {figures.cpu_us_per_sample(measured[-1]):.2f} us per sample")

    def agent() -> AgentMeasured:
        return measure_agent(
            folder / "agent", parts.broker, parts.shipped.database, course.agent_seconds
        )

    for _ in range(course.rounds):
        stretch(parts.same, course.compared)
        stretch(parts.telegraf, course.compared)
        if not course.beside:
            stretch(parts.shipped, course.shipped)
    if not course.beside:
        _say(f"agent: {course.agent_seconds:g} s")
        with parts.shipped:
            return measured, agent()
    return measured, _beside(lambda: stretch(parts.shipped, course.shipped), agent)


def _beside(work: Callable[[], None], other: Callable[[], AgentMeasured]) -> AgentMeasured:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(other)
        work()
        return future.result()


def _profiles(
    parts: Setup, course: Course, stretches: list[Measured], folder: Path
) -> list[profiles.Profiled]:
    """Profile the collector under the same load, in each mode that missed its target."""
    missed = {figure.name for figure, _ in figures.missed(figures.of_stretches(stretches))}
    wanted = (
        (parts.shipped, course.shipped, "collector_vs_telegraf_cpu_ratio_as_shipped"),
        (parts.same, course.compared, "collector_vs_telegraf_cpu_ratio_same_points"),
    )
    found = []
    for consumer, plan, name in wanted:
        if name in missed:
            _say(f"{consumer.name}: profile, {plan.intervals * course.length_seconds} s")
            consumer.profile = folder / f"{consumer.name}.profile"
            measure(consumer, parts.load, plan)
            samples = course.nodes * DEVICES * plan.intervals
            found.append(profiles.read(consumer.name, consumer.profile, samples))
            consumer.profile = None
    return found


def _void(results: Results, course: Course) -> list[str]:
    """Return why the run says nothing: losses, or another load than is written down."""
    every = results.all_stretches()
    # Of the largest fleets it is a figure how much the collector did not take.
    compared = [*results.stretches, *results.scraped]
    reasons = [f"{m.consumer} lost {m.lost} of {m.samples} samples" for m in compared if m.lost]
    reasons += [
        f"the load was {m.late_seconds:.1f} s behind its schedule for {m.consumer}"
        for m in every
        if m.late_seconds > _LATE_SECONDS
    ]
    least = int(course.agent_seconds // course.length_seconds)
    if results.agent.answers < least:
        stored = results.agent.answers
        reasons.append(f"{stored} reports of the agent stored, expected {least}")
    return reasons


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} bench: {text}", file=sys.stderr, flush=True)


def _write_json(path: Path, results: Results, found: list[Figure], void: list[str]) -> None:
    content = {
        "machine": document.machine()._asdict(),
        "figures": [figure._asdict() for figure in found],
        "stretches": [m._asdict() for m in results.all_stretches()],
        "sizes": [
            {"accelerators": s.size.accelerators, **s.size._asdict(), "plan": s.size.plan._asdict()}
            | {"freshness_seconds": s.freshness_seconds}
            for s in results.scaled
        ],
        "agent": results.agent._asdict(),
        "nvitop_exporter": results.nvitop._asdict(),
        "void": void,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
