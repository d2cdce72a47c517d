"""``python -m tests.bench``: measure, print one line per figure, and write them down.

Without ``--quick`` it also writes ``docs/benchmarks.md``. It exits with 1 where the run is void.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import document, figures, profiles
from tests.bench.agent import AgentMeasured, measure_agent
from tests.bench.consumers import BROKER_CONF, Collector, Consumer, Telegraf
from tests.bench.course import FULL, QUICK, Course
from tests.bench.figures import Figure
from tests.bench.fleet import DEVICES, Fleet
from tests.bench.load import Load, loading
from tests.bench.stretch import Measured, Plan, measure
from tests.servers import InfluxDB, Mosquitto

_ROOT: Final = Path(__file__).parents[2]
_JSON: Final = _ROOT / "build" / "bench.json"
_PAGE: Final = _ROOT / "docs" / "benchmarks.md"
_MAX_NODES: Final = 12_500
# The load must keep to its time, or the consumers were given another load than is written down.
_LATE_SECONDS: Final = 1.0


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
            measured, agent = _run(parts, course, folder)
            found = [*figures.of_stretches(measured), *figures.of_agent(agent)]
            _print(found)
            void = _void(measured, agent, course)
            missed = figures.missed(found)
            _write_json(found, measured, agent, void)
            profiled = []
            if not (options.quick or void):
                profiled = _profiles(parts, course, {figure.name for figure, _ in missed}, folder)
    for reason in void:
        print(f"void: {reason}")
    for figure, target in missed:
        print(f"missed: {figure.line()}, target {target.at_most:g}")
    if not (options.quick or void):
        _PAGE.parent.mkdir(exist_ok=True)
        page = document.page(document.machine(), course, found, measured, agent, profiled)
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


def _run(parts: Setup, course: Course, folder: Path) -> tuple[list[Measured], AgentMeasured]:
    """Measure in turn, round by round: same points, the peer, as shipped; then the agent."""
    measured = []

    def stretch(consumer: Consumer, plan: Plan) -> None:
        _say(f"{consumer.name}: {plan.intervals * course.length_seconds} s")
        measured.append(measure(consumer, parts.load, plan))
        _say(f"{consumer.name}: {figures.cpu_us_per_sample(measured[-1]):.2f} us per sample")

    def agent() -> AgentMeasured:
        return measure_agent(
            folder / "agent", parts.broker, parts.shipped.influx, course.agent_seconds
        )

    for _ in range(course.rounds):
        stretch(parts.same, course.compared)
        stretch(parts.telegraf, course.compared)
        if course.agent_alone:
            stretch(parts.shipped, course.shipped)
    if course.agent_alone:
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
    parts: Setup, course: Course, missed: set[str], folder: Path
) -> list[profiles.Profiled]:
    """Profile the collector under the same load, in each mode that missed its target."""
    wanted = (
        (parts.shipped, course.shipped, "collector_cpu_us_per_sample"),
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


def _void(measured: list[Measured], agent: AgentMeasured, course: Course) -> list[str]:
    reasons = [f"{m.consumer} lost {m.lost} samples" for m in measured if m.lost]
    reasons += [
        f"the load was {m.late_seconds:.1f} s behind its schedule for {m.consumer}"
        for m in measured
        if m.late_seconds > _LATE_SECONDS
    ]
    least = int(course.agent_seconds // course.length_seconds)
    if agent.reports_stored < least:
        reasons.append(f"{agent.reports_stored} reports of the agent stored, expected {least}")
    return reasons


def _print(found: list[Figure]) -> None:
    for figure in found:
        print(figure.line(), flush=True)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _write_json(
    found: list[Figure], measured: list[Measured], agent: AgentMeasured, void: list[str]
) -> None:
    content = {
        "machine": document.machine()._asdict(),
        "figures": [figure._asdict() for figure in found],
        "stretches": [m._asdict() for m in measured],
        "agent": agent._asdict(),
        "void": void,
    }
    _JSON.parent.mkdir(exist_ok=True)
    _JSON.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
