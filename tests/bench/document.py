"""The page ``docs/benchmarks.md``, as a full run writes it."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS
from tests.bench.consumers import telegraf_version
from tests.bench.course import FULL, Course
from tests.bench.figures import MEGABYTE, MICRO, TARGETS, Figure, cpu_us_per_sample, missed
from tests.bench.fleet import DEVICES, METRICS
from tests.bench.profiles import Profiled
from tests.bench.scale import Scaled
from tests.bench.stretch import Measured
from tests.servers import binary

if TYPE_CHECKING:
    from tests.bench.__main__ import Results


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
            "Prometheus": _said("prometheus", "--version", word=2),
            "nvitop-exporter": _said("nvitop-exporter", "--version", word=1),
            **{name: version(name) for name in ("gmqtt", "uvloop", "msgspec", "influxdb-client")},
        },
    )


def _said(program: str, argument: str, *, word: int) -> str:
    done = subprocess.run(
        [binary(program), argument], capture_output=True, text=True, check=False, timeout=30
    )
    words = (done.stdout or done.stderr).split()
    return words[word] if len(words) > word else "unknown"


def page(
    where: Machine,
    course: Course,
    figures: Sequence[Figure],
    results: "Results",
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
            scraped=course.scraped.measured * course.length_seconds,
            kept=course.kept_nodes * DEVICES,
        ),
        "## Figures\n\n" + _table(("figure", "value", "unit"), [_cells(f) for f in figures]),
        _targets(figures),
        _SIZES + _sizes(results.scaled),
        "## Every stretch\n\nCPU in microseconds per sample.\n\n"
        + _stretches([*results.stretches, *results.scraped]),
        _AGENT.format(
            results.agent.seconds,
            results.agent.processes,
            results.agent.answers,
            results.nvitop.seconds,
            results.nvitop.processes,
        ),
        _TRIED,
        _MEMORY,
        *(_profile(p) for p in profiled),
    ]
    return "\n".join(parts)


_HEAD = """# Benchmarks

This page is written by `make bench`; `make bench QUICK=1` prints the same figures, less exact, in
under two minutes and writes nothing here. A sample is one device's entry in one report.
"""

_AGENT = (
    "The agent ran {:.0f} s in {} processes; {} of its reports were stored. "
    "nvitop-exporter ran {:.0f} s in {}.\n"
)

_SIZES = """## By the size of the fleet

One collector process, and beside it broker, load and store on the same machine. *Discards* is a
store that answers as InfluxDB does and keeps nothing: what is measured is the collector alone. The
curve leaves the detail of devices out, which as shipped comes once in 60 s. Freshness is from an
interval's end until the rollups of all groups could be read from InfluxDB, asked each 50 ms.
*Not taken* are samples, the warm-up's with them: a collector that holds 64 MiB of reports which its
store has not confirmed, some 47,000 without detail, looks at no more, and agents send again what
has no receipt; this load does not.

"""

_TRIED = """## What was gained, and what was tried

| what | before | after |
| --- | --- | --- |
| messages at QoS 0 past the MQTT library (before: and a writing of detail) | 15.1 µs | 8.9 µs |
| a report taken with its detail as one row, not one for each device | 11.6 µs | 6.5 µs |
| columns summed without a look at each entry for gaps | 3.2 µs | 2.8 µs |
| an interval rolled up once all that is expected has reported | 3.4 s | see freshness |
| all of the collector as shipped, with the three below, two runs each in turn | 16.9 µs | 14.2 µs |
| of it: cells put into their groups column by column | 2.1 µs | 1.4 µs |
| of it: receipts looked for only when one can be due | 0.34 µs | 0.02 µs |
| of it: grouping, agent and quota of a report found with one look each | 3.3 µs | 3.0 µs |
| the first line of each device's detail, once | 20 µs | 2.6 µs |
| all of the collector as shipped, with the four below, two runs each in turn | 13.5 µs | 11.1 µs |
| of it: alerts look at nodes that are silent, hurt or hot, and no others | 0.83 µs | 0.32 µs |
| of it: the roll-up keeps who tells, and sums nodes without naming them | 2.2 µs | 1.6 µs |
| of it: the writer makes structs, not named tuples, and takes fewer steps | 2.4 µs | 1.6 µs |
| each receipt: a frame of our own, all of one moment in one write | 4.6 µs | 1.0 µs |
| all of the collector as shipped, with all below, two runs each in turn | 8.8 µs | 7.4 µs |
| all of it with the same points, one run each | 15.3 µs | 11.5 µs |
| of it: the encoder keeps nothing of what it packs (same points) | 13.1 µs | 11.5 µs |
| of it: the detail kept as columns up to its lines (same points) | 11.5 µs | 10.7 µs |
| of it: shares rolled up as they are, by a plan that nodes share | 0.98 µs | 0.48 µs |
| of it: a report that is one share not split | 0.63 µs | 0.52 µs |
| an interval: metrics collected once for the collector's own point | 0.87 ms | 0.33 ms |
| an interval: the sums of a window of 60 added column by column | 0.75 ms | 0.29 ms |
| all of an interval of 200 accelerators: ticks that fall together | 16.4 ms | 14.8 ms |

Per sample, one after the other on a busy machine, so only their order says something. What is *of
it* was measured alone, in one process with everything in its caches, as the best of many rounds or
the mean of twelve intervals.

What a small site costs is waking up: here a process that sleeps 0.25 s takes 0.14 ms each time, and
0.4 ms if it hands something to a thread, so that 1,000 accelerators whose reports come one by one
cost 22 ms of each 5 s. What a large one costs is also memory touched for the first time: the
encoder of msgspec 0.22 never lets go of an iterator, which was 6 kB of each report with detail, and
kept as text with names that detail was 3.6 kB written once and read twice; as columns it is 0.8.

By `perf`, 499 times a second over 60 s as shipped, the collector is 75 % in the interpreter, 12 %
in the kernel (5 of them clear pages of memory), 6 % in msgspec and 6 % in the C library. A report
passes through some fifty functions; decoding, the largest, is a seventh of what is done with it.

Tried and dropped: reading the columns that only the detail needs as undecoded text saves up to
0.7 µs per sample of the 1.1 that decoding takes, but then a malformed column would be refused only
in the intervals whose detail is written. Reading the socket only each 20 ms, to be woken less
often, saved nothing; nor did reading at once and taking what came each 25 ms (9.6 and 9.2 to 9.7
and 9.7 µs), nor 25 ms without reading after each piece, for 1,000 accelerators (22.7 and 22.0 to
22.1 and 26.2 µs). One format string for the lines of a node's detail takes 8.2 µs of a report,
their pieces joined 5.7. An allocator that gives no memory back saved nothing. The hot modules
compiled by mypyc saved 7 % (14.1 to 13.4 and 15.5 to 14.1 µs in two pairs), for a compiler in the
build and wheels for each machine; Python 3.13 saved nothing (15.5 and 15.5 µs). Ranges and names
checked while decoding cost 0.3 µs per sample, and stay. For compression on the loopback see
decision 0007.
"""

_MEMORY = """## What memory is spent on

Measured on 2026-11-21, beside other work on the machine, and not again by this run. In one process
that was fed directly, 2,500 nodes of 8 devices each 5 s, by `tracemalloc`; bytes for each
accelerator:

| what is kept | bytes |
| --- | --- |
| rows of the last 20 s, as objects: alerts and late reports ask for them | 306 |
| names and serials of devices, as their agents told them | 246 |
| all else that is known of an agent: last word, inventories by hash, refusals | 85 |
| rows of the intervals before, packed: each 1.7, and 60 are held for late reports | 105 |
| receipts that are due | 32 |
| names that were counted, and how many messages each node sent | 30 |
| topics of reports | 25 |
| the beginning of each node's line of the ledger | 15 |
| how a node's devices are split among holders | 11 |
| with detail: the beginning of each device's line | 180 |

The rest of the figure is what a burst takes and the allocator keeps: 100 to 300 bytes, and up to
64 MiB for all reports that wait for a store.

| what, in kB for each accelerator | before | after |
| --- | --- | --- |
| as `collector_kb_per_accelerator`, three times: after 30 s, no detail | 3.5 | 1.2 to 1.4 |
| fed directly as shipped, 2,500 nodes, after 5.5 minutes | 13.8 | 2.2 |
| the same with 12,500 nodes |  | 1.5 |
| of it: what a status leaves; equal values are kept once, tags made when asked for | 1.8 | 0.4 |
| of it: each interval that is held; before, none was packed | 0.059 | 0.002 |
| of it: columns of reports with detail that msgspec never let go of, each minute | 0.8 | 0 |
| where the page is served: the last four intervals of its map | 3.1 | 1.5 |
| for the whole collector, reports that wait for a store that stands still, in MB | 286 | 72 |

The leak was `encode_lines` of msgspec 0.22.0 given an iterator: it keeps the iterator, and that the
lists it stands in. What is packed costs 0.1 µs per sample; with a third of the memory to walk
through, all of the collector fed directly took 7.4 µs where it took 8.4 (2,500 nodes, 66 intervals,
one run each).

Tried and dropped: one arena for malloc and lower thresholds of it, 10 of 230 MB for 5 % more CPU;
`malloc_trim` after a burst, 10 to 30 MB, which the next burst takes again; `zlib` level 6 in place
of 1, 12 of 14 bytes for twice the time; packed rows as JSON, a tenth more.

**100,000 accelerators each second.** 12,500 reports come in 0.4 s, and each request to the store
waits for turns of the loop that read more of them: the queue goes up to 12,780 reports in a burst
and down before the next (18 s, with all that took part scheduled before the other work on the
machine: none of 1.8 million samples was lost, 0.57 cores, 277 MB). Beside other work that left the
collector 0.4 of a core it fell behind for good, and 0.7 of 2.4 million were not taken. A bound of
20,000 reports was reached by a burst and a half; one of 64 MiB, as now, holds nearly four. At 5 s
into InfluxDB, with all series new, up to 19,000 reports waited, and none was lost.

The figures of this paragraph are of a build that wrote the detail of all nodes at once. In turns
(decision 0027), a run that was watched stopped reading twice, both in the first minute, when each
series of detail is written for the first time; what the runs of this page lost is in the table.
"""

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
- **Prometheus**, Debian's, scrapes a page of text for each node each {length} s: the same fields of
  each device and its state, each page another, encoded before by a server whose CPU is not counted.
  Recording rules compute PUE, idle capacity, money and the sums by pool each interval. It is set
  against broker, collector as shipped and InfluxDB together, its own store being part of it. Of the
  stretch of {scraped} s the samples are those that it says it appended.
- **The collector**, in two modes. *Same points*: it writes the same {fields} fields per device and
  interval as Telegraf, and its ledger and live rollups on top. *As shipped*: the default, where
  the device detail is written each 60 s, of other nodes in each interval. In both it decodes,
  checks, rolls up and says receipts.
- **In turn.** {rounds} rounds of: same points ({compared} s), Telegraf ({compared} s), as shipped
  ({shipped} s, so that it holds the detail of each node exactly once, as its warm-up does), each a
  fresh process after a warm-up, and nothing beside it but broker, database and load. Both at once
  would make two consumers and two databases compete for two cores and their caches. Figures are
  medians of the rounds; a ratio is the median of the ratios within a round, so that a slow minute
  of the machine weighs on both.
- **CPU** is user and system time of the process and its children, over the measured stretch.
  Memory is the proportional set size at its end.
- **Losses.** After each stretch the ledger's rows and the points are counted in the databases. A
  run in which one of these lost a sample is void: it says so and writes nothing here. Of the
  largest fleets below, what was not taken is a figure.
- **The agent** reads eight devices each second through the real NVML binding from a stand-in of
  the driver's library, and reports each 5 s to a collector, for 60 s. nvitop-exporter reads the
  same stand-in each second, and its page is read as often; it asks for much that the stand-in does
  not have, which costs it less than a driver's answer would. Telegraf's `nvidia_smi` runs NVIDIA's
  program, which needs a real driver, and is not measured.
- **Kept:** the bytes are those of InfluxDB's files after an hour of {kept} accelerators as shipped
  was written at once and flushed, before any compaction of older files. The panel is the
  idle-capacity ratio by the hour over 30 days, from the quarter rollups of 10,000 nodes in ten
  pools.
- **Not in it:** the work at the end of a quarter hour, money, the page, agents on connections of
  their own (which cost the broker more), TLS, and the first writing of a series.
"""


def _where(where: Machine, course: Course) -> str:
    programs = ", ".join(f"{name} {number}" for name, number in where.versions.items())
    nodes = f' ARGS="--nodes {course.nodes}"' if course.nodes != FULL.nodes else ""
    return (
        f"Measured on {where.date}: {where.processor}, {where.cores} cores, "
        f"{where.memory_gb:g} GB, Linux {where.kernel}, Python {where.python}; {programs}.\n"
        f"To repeat it: `make bench{nodes}`, about twenty minutes once its tools are built. "
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


def _influx_us(measured: Measured) -> float:
    return measured.influx_cpu_seconds / measured.samples * MICRO


def _sizes(scaled: Sequence[Scaled]) -> str:
    head = [
        *("accelerators", "each", "store", "detail", "collector", "broker", "InfluxDB"),
        *("cores of the collector", "PSS MB", "behind schedule", "not taken"),
        "fresh after (median, most)",
    ]
    rows = []
    for size, m, fresh in scaled:
        said = f"{median(fresh):.2f} s, {max(fresh):.2f} s" if fresh else ""
        rows.append(
            (
                f"{size.accelerators:,}",
                f"{size.length_seconds} s",
                size.store,
                "no" if size.mode == "without_detail" else "as shipped",
                f"{cpu_us_per_sample(m):.2f} us",
                f"{m.broker_cpu_seconds / m.samples * MICRO:.2f} us",
                f"{m.influx_cpu_seconds / m.samples * MICRO:.2f} us"
                if size.store == "InfluxDB"
                else "",
                f"{m.cpu_seconds / m.seconds:.2f}",
                f"{m.pss_bytes / MEGABYTE:.0f}",
                f"{m.late_seconds:.2f} s",
                f"{m.lost:,}",
                said,
            )
        )
    return _table(head, rows)


def _stretches(measured: Sequence[Measured]) -> str:
    head = ("consumer", "samples", "CPU", "InfluxDB", "broker", "PSS MB", "InfluxDB MB", "lost")
    rows = [
        (
            m.consumer,
            f"{m.samples:,}",
            f"{cpu_us_per_sample(m):.2f}",
            f"{_influx_us(m):.2f}",
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
