"""Writes ``docs/scale.md``: what sizes cost, from what was measured: ``python -m docs.scale``.

The measured costs are those of ``docs/bench.json`` where it is there, else of the table in
``docs/benchmarks.md``. With ``--check`` it writes nothing, and fails where the page is out of date.
"""

# ruff: noqa: INP001 - it needs the folder above, so it runs as a module and is no script

import json
import re
import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Final, NamedTuple

from docs.reference_parts.markdown import table
from docs.written import write_or_check

FOLDER: Final = Path(__file__).parent
TARGET: Final = FOLDER / "scale.md"
TEXT: Final = FOLDER / "scale.md.in"
DEVICES_PER_NODE: Final = 8
# What a process may be busy: bursts end each interval, and a restart has to catch up.
BUSY_MAX: Final = 0.6
# Measured once, by decision 0005 and the decision about gathered rows; of nodes of 8 devices.
ONCE: Final[Mapping[str, float]] = {
    "nats_cluster_cpu_us_per_report": 62.0,
    "gathered_intake_cpu_us_per_node": 1.3,
    "gathered_influx_cpu_us_per_node": 8.0,
    "steward_cpu_us_per_node": 28.4,
    "gathered_bytes_per_node": 215.0,
    "ledger_bytes_per_node": 196.0,
}
NEEDED: Final = (
    "collector_cpu_us_per_sample",
    "broker_cpu_us_per_sample",
    "influx_cpu_us_per_sample",
    "wire_bytes_per_sample",
)
_ROW: Final = re.compile(r"^\| `(\w+)` \| ([\d.,e+-]+) \|", re.MULTILINE)
_DAY_SECONDS: Final = 86_400


class Size(NamedTuple):
    """A site, or several alike."""

    accelerators: int
    interval_seconds: int
    sites: int = 1


SIZES: Final = (
    Size(1_000, 5),
    Size(10_000, 5),
    Size(20_000, 1),
    Size(100_000, 5),
    Size(100_000, 1),
    Size(500_000, 5),
    Size(1_000_000, 5, 20),
    Size(1_000_000, 5, 4),
)


def measured(folder: Path = FOLDER) -> dict[str, float]:
    """Return the measured costs; raise ``ValueError`` where one that is needed is missing."""
    path = folder / "bench.json"
    if path.exists():
        table = json.loads(path.read_text(encoding="utf-8"))
        found = {each["name"]: float(each["value"]) for each in table["figures"]}
    else:
        text = (folder / "benchmarks.md").read_text(encoding="utf-8")
        found = {name: float(value.replace(",", "")) for name, value in _ROW.findall(text)}
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise ValueError(f"not measured: {', '.join(missing)}")
    return {**found, **ONCE}


class Need(NamedTuple):
    """What one site needs: CPU cores, processes, network and disk."""

    nodes: int
    reports_per_second: float
    samples_per_second: float
    intakes: int
    collector_cores: float
    steward_cores: float
    mosquitto_cores: float
    nats_cores: float
    influx_cores: float
    megabits_per_second: float
    ledger_gigabytes_per_day: float


def need(size: Size, cost: Mapping[str, float]) -> Need:
    """Return what one of the sites needs; 0 intakes is one process that does everything."""
    accelerators = size.accelerators / size.sites
    nodes = ceil(accelerators / DEVICES_PER_NODE)
    samples = accelerators / size.interval_seconds
    reports = nodes / size.interval_seconds
    alone = samples * cost["collector_cpu_us_per_sample"] / 1e6
    steward = reports * cost["steward_cpu_us_per_node"] / 1e6
    split = alone > BUSY_MAX
    taking = alone - steward + reports * cost["gathered_intake_cpu_us_per_node"] / 1e6
    influx = samples * cost["influx_cpu_us_per_sample"] / 1e6
    gathered = reports * cost["gathered_influx_cpu_us_per_node"] / 1e6
    per_day = nodes * _DAY_SECONDS / size.interval_seconds
    return Need(
        nodes=nodes,
        reports_per_second=reports,
        samples_per_second=samples,
        intakes=ceil(taking / BUSY_MAX) if split else 0,
        collector_cores=taking if split else alone,
        steward_cores=steward if split else 0.0,
        mosquitto_cores=samples * cost["broker_cpu_us_per_sample"] / 1e6,
        nats_cores=reports * cost["nats_cluster_cpu_us_per_report"] / 1e6,
        influx_cores=influx + (gathered if split else 0.0),
        megabits_per_second=samples * cost["wire_bytes_per_sample"] * 8 / 1e6,
        ledger_gigabytes_per_day=per_day * cost["ledger_bytes_per_node"] / 1e9,
    )


def sizes_table(cost: Mapping[str, float]) -> str:
    """Return what each size needs, of one site."""
    head = (
        "accelerators",
        "every",
        "reports/s",
        "intakes",
        "their cores",
        "steward",
        "Mosquitto",
        "or NATS, 3 servers",
        "InfluxDB cores",
        "Mbit/s",
        "ledger GB/day, as text",
    )
    return table(head, (_row(size, need(size, cost)) for size in SIZES))


def _row(size: Size, found: Need) -> list[str]:
    many = f"{size.sites} sites of {size.accelerators // size.sites:,}"
    return [
        f"{size.accelerators:,}" if size.sites == 1 else many,
        f"{size.interval_seconds} s",
        f"{found.reports_per_second:,.0f}",
        str(found.intakes) if found.intakes else "one process",
        f"{found.collector_cores:.2f}",
        f"{found.steward_cores:.2f}" if found.intakes else "in it",
        f"{found.mosquitto_cores:.2f}",
        f"{found.nats_cores:.2f}",
        f"{found.influx_cores:.2f}",
        f"{found.megabits_per_second:.1f}",
        f"{found.ledger_gigabytes_per_day:.2f}",
    ]


def inputs_table(cost: Mapping[str, float]) -> str:
    """Return what was measured and goes in."""
    names = (*NEEDED, *ONCE)
    return table(("measured", "value"), ([f"`{name}`", f"{cost[name]:g}"] for name in names))


def limits_table(cost: Mapping[str, float]) -> str:
    """Return how many accelerators one of each part can take at an interval of 5 s."""
    seconds, per_node = 5.0, DEVICES_PER_NODE
    parts = (
        ("one collector that does everything", cost["collector_cpu_us_per_sample"] * per_node),
        ("one steward", cost["steward_cpu_us_per_node"]),
        ("one Mosquitto, which has one thread", cost["broker_cpu_us_per_sample"] * per_node),
        ("each core of InfluxDB", cost["influx_cpu_us_per_sample"] * per_node),
        ("each core of three NATS servers", cost["nats_cluster_cpu_us_per_report"]),
    )
    rows = (
        [name, f"{BUSY_MAX * seconds * 1e6 / microseconds * per_node:,.0f}"]
        for name, microseconds in parts
    )
    return table((f"at {BUSY_MAX:.0%} of a core", "accelerators at 5 s"), rows)


def page(folder: Path = FOLDER) -> str:
    """Return the text of the page."""
    cost = measured(folder)
    text = TEXT.read_text(encoding="utf-8")
    for name, made in (
        ("inputs", inputs_table(cost)),
        ("limits", limits_table(cost)),
        ("sizes", sizes_table(cost)),
    ):
        text = text.replace(f"{{{{{name}}}}}", made.rstrip("\n"))
    return text


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, page))
