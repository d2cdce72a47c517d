"""The page ``docs/benchmarks.md``, as a full run writes it."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS
from tests.bench.agent import AgentMeasured
from tests.bench.consumers import telegraf_version
from tests.bench.course import FULL, Course
from tests.bench.figures import MEGABYTE, MICRO, TARGETS, Figure, cpu_us_per_sample, missed
from tests.bench.fleet import DEVICES, METRICS
from tests.bench.profiles import Profiled
from tests.bench.stretch import Measured
from tests.servers import binary


class Machine(NamedTuple):
    """Where and with what it was measured."""

    date: str
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    versions: dict[str, str]


def machine() -> Machine:
    """Describe this machine and the programs measured."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line]
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        processor=names[0] if names else platform.machine(),
        cores=os.cpu_count() or 0,
        memory_gb=round(pages / 1e9, 1),
        kernel=platform.release().split("-")[0],
        python=platform.python_version(),
        versions={
            "meterhouse": version("meterhouse"),
            "InfluxDB": _said("influxd", "version", word=1),
            "Mosquitto": _said("mosquitto", "-h", word=2),
            "Telegraf": telegraf_version(),
            **{name: version(name) for name in ("gmqtt", "uvloop", "msgspec", "influxdb-client")},
        },
    )


def _said(program: str, argument: str, *, word: int) -> str:
    done = subprocess.run(
        [binary(program), argument], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.split()[word]


def page(
    where: Machine,
    course: Course,
    figures: Sequence[Figure],
    measured: Sequence[Measured],
    agent: AgentMeasured,
    profiled: Sequence[Profiled],
) -> str:
    """Return the whole page."""
    parts = [
        _HEAD,
        _where(where, course),
        _METHOD.format(
            nodes=course.nodes,
            devices=course.nodes * DEVICES,
            metrics=METRICS,
            fields=len(DETAIL_FIELDS),
            length=course.length_seconds,
            rounds=course.rounds,
            compared=course.compared.measured * course.length_seconds,
            shipped=course.shipped.measured * course.length_seconds,
        ),
        "## Figures\n\n" + _table(("figure", "value", "unit"), [_cells(f) for f in figures]),
        _targets(figures),
        "## Every stretch\n\nCPU in microseconds per sample.\n\n" + _stretches(measured),
        _AGENT.format(agent.seconds, agent.processes, agent.reports_stored),
        *(_profile(p) for p in profiled),
    ]
    return "\n".join(parts)


_HEAD = """# Benchmarks

This page is written by `make bench`; `make bench QUICK=1` prints the same figures, less exact, in
under two minutes and writes nothing here. A sample is one device's entry in one report.
"""

_AGENT = "The agent ran {:.0f} s in {} processes; {} of its reports were stored.\n"

_METHOD = """## What is measured

- **The load.** {nodes} nodes of 8 devices, {devices} in all, each report distinct and encoded by
  the contract's own encoder with {metrics} metrics per device: milliseconds and joules by state,
  power (mean, maximum), utilization, SM and tensor activity, memory, two temperatures, clock,
  throttling (any, for power, for heat) and two ECC counts. They were recorded before, and are
  published over one connection at QoS 0 every {length} s, spread over the 0.4 s after the
  interval's end as agents do it. The load's own CPU is not counted.
- **The peer.** Telegraf gets the same samples as one message per report, in a form that it can
  parse: line protocol, one line per device with the tags and the {fields} fields of the collector's
  device detail (the joules of the states summed). It writes them to an InfluxDB of its own.
  Its settings are those that its documentation recommends for throughput: the `upstream` parser
  (said to be faster), batches of 5,000 points, the default of 1,000 undelivered messages, a buffer
  that no burst fills; compression is off, as the collector's is on the loopback, and so is the
  tag with the topic.
- **The collector**, in two modes. *Same points*: it writes the same {fields} fields per device and
  interval as Telegraf, and its ledger and live rollups on top. *As shipped*: the default, where
  the device detail is written each 60 s. In both it decodes, checks, rolls up and says receipts.
- **In turn.** {rounds} rounds of: same points ({compared} s), Telegraf ({compared} s), as shipped
  ({shipped} s, so that it holds the detail exactly once, as its warm-up does), each a fresh
  process after a warm-up, and nothing beside it but broker, database and load. Both at once would
  make two consumers and two databases compete for two cores and their caches. Figures are medians
  of the rounds; a ratio is the median of the ratios within a round, so that a slow minute of the
  machine weighs on both.
- **CPU** is user and system time of the process and its children, over the measured stretch.
  Memory is the proportional set size at its end.
- **Losses.** After each stretch the ledger's rows and the points are counted in the databases. A
  run that lost a sample is void: it says so and writes nothing here.
- **The agent** reads eight devices each second through the real NVML binding from a stand-in of
  the driver's library, and reports each 5 s to a collector, for 60 s.
- **Not in it:** the work at the end of a quarter hour, money, the page, agents on connections of
  their own (which cost the broker more), TLS, and the first writing of a series.
"""


def _where(where: Machine, course: Course) -> str:
    programs = ", ".join(f"{name} {number}" for name, number in where.versions.items())
    nodes = f' ARGS="--nodes {course.nodes}"' if course.nodes != FULL.nodes else ""
    return (
        f"Measured on {where.date}: {where.processor}, {where.cores} cores, "
        f"{where.memory_gb:g} GB, Linux {where.kernel}, Python {where.python}; {programs}.\n"
        f"To repeat it: `make bench{nodes}`, about twelve minutes once its tools are built. "
        "It needs nothing but this machine.\n"
    )


def _targets(figures: Sequence[Figure]) -> str:
    names = {figure.name: figure for figure in figures}
    above = {figure.name for figure, _ in missed(figures)}
    rows = [
        (
            f"`{target.name}`",
            f"{names[target.name].value:.4g}",
            f"{target.at_most:g}",
            "**missed**" if target.name in above else "met",
        )
        for target in TARGETS
        if target.name in names
    ]
    return "## Targets\n\n" + _table(("figure", "value", "at most", ""), rows)


def _stretches(measured: Sequence[Measured]) -> str:
    head = ("consumer", "samples", "CPU", "InfluxDB", "broker", "PSS MB", "InfluxDB MB", "lost")
    rows = [
        (
            m.consumer,
            f"{m.samples:,}",
            f"{cpu_us_per_sample(m):.2f}",
            f"{m.influx_cpu_seconds / m.samples * MICRO:.2f}",
            f"{m.broker_cpu_seconds / m.samples * MICRO:.2f}",
            f"{m.pss_bytes / MEGABYTE:.0f}",
            f"{m.influx_pss_bytes / MEGABYTE:.0f}",
            str(m.lost),
        )
        for m in measured
    ]
    return _table(head, rows)


def _profile(profiled: Profiled) -> str:
    rows = [
        (
            f"`{row.function}`",
            f"{row.own_us:.2f}",
            f"{row.whole_us:.2f}",
            f"{row.calls_per_sample:.2f}",
        )
        for row in profiled.rows
    ]
    return (
        f"## Where it goes: {profiled.consumer}\n\n"
        "Under the same load with cProfile by CPU time, from start to end, in microseconds per "
        f"sample. The profiler adds its own: {profiled.total_us:.1f} in all, and small functions "
        "look dearer than they are.\n\n"
        + _table(("function", "own", "with what it calls", "calls per sample"), rows)
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    return (f"`{figure.name}`", f"{figure.value:.4g}", figure.unit)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
