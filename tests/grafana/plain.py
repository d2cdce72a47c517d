"""Plain points as the collector writes them, of readings and figures that are known here."""

import asyncio
from dataclasses import replace
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.agents import Agent
from meterhouse_collector.alerts import figures, plans
from meterhouse_collector.alerts.known import (
    DemandKnown,
    LiveKnown,
    LoadKnown,
    Source,
    Things,
)
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.rows import PackedRow, Row
from tests.collector.alerting import known
from tests.collector.collecting import INVENTORY, index, report
from tests.collector.test_own_health import Health
from tests.grafana import (
    plain_events,
    plain_objectives,
    plain_path,
    plain_region,
    plain_sensors,
)
from tests.grafana.fleet import END, START
from tests.grafana.plain_events import SITE, number

STEP: Final = 5
STARTS: Final = range(START, END, STEP)
NODES: Final = ("node-1", "node-2")
DEVICES: Final = ("gpu-0", "gpu-1")
PLAN: Final = """
[[grid_connection]]
name = "feed"
contracted_watts = 1000000.0
marginal_pue = 1.25
[[grid_connection.increment]]
name = "phase-2"
watts = 500000.0
promised = [{ said = 2023-01-01, due = 2024-02-12 }]
[[pipeline]]
name = "racks"
kind = "devices"
accelerator_model = "h100"
quantity = 400
peak_watts = 1000.0
promised = [{ said = 2023-01-01, due = 2024-01-01 }]
"""


def reading(node: str, device: str, start: int) -> float:
    """Return a reading between 0 and 1, of each device and interval another."""
    place = 2 * NODES.index(node) + DEVICES.index(device)
    return (1 + place) / 8 + (number(start) % 13) / 32


def state_of(node: str, device: str, start: int) -> wire.State:
    """Return the state of a device, which changes every 50 s."""
    place = NODES.index(node) + 2 * DEVICES.index(device)
    return wire.STATES[(place + number(start) // 10) % 4]


SCALES: Final = {
    "power_watts": 700.0,
    "power_watts_max": 900.0,
    "utilization_ratio": 1.0,
    "sm_activity_ratio": 0.75,
    "tensor_activity_ratio": 0.5,
    "memory_used_bytes": 2.0**36,
    "temperature_celsius": 80.0,
    "memory_temperature_celsius": 96.0,
    "sm_clock_hertz": 2.0e9,
    "throttled_milliseconds": 4000.0,
    "throttled_power_milliseconds": 2000.0,
    "throttled_thermal_milliseconds": 1000.0,
}


def errors(node: str, device: str, start: int) -> tuple[int, int]:
    """Return corrected and uncorrected memory errors of an interval."""
    place = NODES.index(node) + DEVICES.index(device)
    return (number(start) + place) % 5, int(number(start) == 17 * place)


def host_reading(node: str, start: int) -> float:
    """Return a reading of a host between 0 and 1."""
    return (1 + NODES.index(node)) / 4 + (number(start) % 7) / 16


HOST_SCALES: Final = {
    "cpu_utilization_ratio": 1.0,
    "memory_used_bytes": 2.0**38,
    "temperature_celsius": 64.0,
}


def queue(start: int) -> tuple[float, float]:
    """Return how many requests ran at the engine and waited for it."""
    return 4.0 + number(start) % 3, float(number(start) % 4)


def xids(node: str, start: int) -> dict[int, list[int]]:
    """Return the fault codes of an interval, by the place of the device."""
    found: dict[int, list[int]] = {}
    if node == "node-1" and number(start) in {7, 30}:
        found[0] = [31, 31]
    if number(start) == 30:
        found[1] = [79, 4711]
    return found


def _report(node: str, start: int) -> wire.Report:
    times: dict[wire.State, list[int]] = {}
    for place, device in enumerate(DEVICES):
        column = times.setdefault(state_of(node, device, start), [0] * len(DEVICES))
        column[place] = STEP * 1000
    columns = {
        name: [scale * reading(node, device, start) for device in DEVICES]
        for name, scale in SCALES.items()
    }
    ecc = [errors(node, device, start) for device in DEVICES]
    host = {name: scale * host_reading(node, start) for name, scale in HOST_SCALES.items()}
    running, waiting = queue(start)
    engine = wire.Engine(
        engine="chat",
        served_model="llama",
        covered_milliseconds=STEP * 1000,
        running_requests=running,
        waiting_requests=waiting,
    )
    return report(
        node,
        start,
        accelerators=wire.Accelerators(
            state_milliseconds=times,
            ecc_corrected_errors=[float(a) for a, _ in ecc],
            ecc_uncorrected_errors=[float(b) for _, b in ecc],
            xids=xids(node, start),
            **columns,  # type: ignore[arg-type] # columns by their name
        ),
        host=wire.Host(covered_milliseconds=STEP * 1000, **host),  # type: ignore[arg-type] # by name
        engines=[engine] if node == "node-1" else [],
        sensors=plain_sensors.sensors(start) if node == "node-1" else [],
    )


def _entries() -> list[Entry]:
    """Return what the ledger makes of the reports."""
    site = index(plain_sensors.SENSORS)
    return [
        entry_of(_report(node, start), installed(SITE, node, INVENTORY), site, detail=True)
        for start in STARTS
        for node in NODES
    ]


async def _rollups(entries: list[Entry]) -> list[Row]:
    """Return what is rolled up of the reports, each interval after its grace."""
    now, rows, bugs = [0.0], list[Row](), list[str]()
    site = index()
    live = Live(
        site,
        Pace(STEP, 3.0, 300.0, 300.0),
        write=rows.append,
        bug=bugs.append,
        clock=lambda: now[0],
    )
    now[0] = START + 3.0
    await live.roll()
    for entry in entries:
        now[0] = entry.start_seconds + STEP + 1.0
        live.add(entry)
        if entry.node == NODES[-1]:
            now[0] += 3.0
            await live.roll()
    assert bugs == []
    return rows


def ups_watts(start: int) -> float:
    """Return the load at the UPS."""
    return 1.0e6 + 1000.0 * number(start)


def feed_watts(start: int) -> float | None:
    """Return the load at the grid connection, which is known later than the other."""
    return None if number(start) < 24 else 8.0e5 + 500.0 * number(start)


def standby_watts(start: int) -> float | None:
    """Return the load at the standby, whose meter falls silent."""
    return 1.0e5 if number(start) < 30 else None


STANDBY_LIMIT: Final = 5.0e5
UPS_LIMIT: Final = 1.2e6
FEED_LIMIT: Final = 1.0e6
MARGINAL: Final = 1.25


def live_known(start: int) -> LiveKnown:
    """Return what the alert engine knows after an interval."""
    loads = (
        LoadKnown("ups", UPS_LIMIT, ups_watts(start), 1.0),
        LoadKnown("feed", FEED_LIMIT, feed_watts(start), MARGINAL),
        LoadKnown("standby", STANDBY_LIMIT, standby_watts(start), 1.0),
    )
    things = Things(
        cooling=(LoadKnown("chillers", 2.0e6, 9.0e5, 1.0),),
        sources=(Source("battery", "b1", 100.0 * number(start)),),
    )
    watts = feed_watts(start)
    demand = DemandKnown("feed", FEED_LIMIT, watts, 290.0, 300.0)
    made = known({}, of=index(PLAN), loads=loads, demand=[demand])
    return replace(made, at_seconds=float(start), things=things)


def lateness(start: int) -> list[float]:
    """Return how late each report of an interval came."""
    return [0.25 * (1 + n) for n in range(number(start) % 4)]


async def _health() -> list[Row]:
    """Return what the collector writes of itself while its metrics go as is known here."""
    bench = Health()
    agent = bench.intake.agents["node-1"] = Agent()
    told, found = bench.telemetry, list[Row]()
    told.last_quarter.set(START - wire.QUARTER_SECONDS)
    told.store_up.set(1)
    told.alerts.labels("pue", "firing").set(2)
    told.alerts.labels("idle", "pending").set(1)
    for start in STARTS:
        n, bench.now = number(start), start + 1.0
        for late in lateness(start):
            told.taken.note(late)
        if n % 10 == 0:
            told.refused.labels("off_grid", "true").inc(2)
        if n % 15 == 0:
            told.refused.labels("unknown_inventory", "false").inc()
        told.dropped.labels("intake_full").inc(n % 2)
        told.rows.labels("live").inc(10 + n)
        told.rejected.labels("ledger").inc(n == 30)
        told.unread_rows.inc(3 * (n == 40))
        told.waiting.set(n)
        told.pending.set(2 * n)
        told.connected.set(n < 50)
        told.quarters_behind.set(n // 20)
        told.dirty_marks.set(n % 7)
        if n < 30:
            agent.report_seconds = bench.now
        await bench.live.roll()
        bench.noted.clear()
        bench.health.note()
        found += bench.noted
    return found


def rows() -> list[Row]:
    """Return all of it."""
    entries = _entries()
    details = [r for entry in entries for r in entry.rows if not isinstance(r, PackedRow)]
    rolled = asyncio.run(_rollups(entries))
    found = [
        *details,
        *rolled,
        *plain_events.money(),
        *plain_events.alerts(),
        *plain_objectives.rows(),
        *plain_path.rows(),
        *plain_region.rows(),
        *asyncio.run(_health()),
    ]
    for start in STARTS:
        found += figures.live_points(live_known(start))
    last = live_known(STARTS[-1])
    return [*found, figures.site_point(last), *plans.plan_points(last, {})]
