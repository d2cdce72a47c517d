"""A GPU in MIG mode, from the driver's C library to the row of the ledger."""

import asyncio
import math
import time
from itertools import pairwise
from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.samples import Readings
from meterhouse_collector.ledger import entry_of, installed
from tests.agent.nvml_source import opened
from tests.collector.collecting import index
from tests.stand_ins import nvml as driver
from tests.stand_ins.nvml import MigDevice

# None of the site model: nobody else's devices are in its rows.
NODE = "node-9"
LENGTH = 1
GAP = 60_000.0
SECONDS = 4


async def test_slices_and_joules_reach_the_ledger_without_a_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = driver.Nvml(tmp_path / "nvml", count=2)
    for name, where in stand_in.environment().items():
        monkeypatch.setenv(name, where)
    divided, whole = stand_in.gpus
    whole.utilization_percent, whole.sm_activity_percent = 80, 60.0
    divided.mig_mode = True
    divided.mig_devices = {
        0: MigDevice(slices=3, instance=1, uuid="a", process_bytes=1, sm_activity_percent=70.0),
        4: MigDevice(slices=2, instance=2, uuid="b", process_bytes=1),
    }
    stand_in.set_power(0, 333.333)
    stand_in.set_power(1, 500.0)
    rounds: list[Readings] = []
    async with opened() as source:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            rounds.append(await source.read(0))
            await asyncio.sleep(0.2)
        inventory = wire.Inventory(devices=list(source.things().devices))
    names = [device.device for device in inventory.devices]
    column = names.index(divided.device)
    reports = _reports(rounds, inventory)
    # What is held and not known to compute is so only until activity could be compared.
    times = {s: sum(c[column] for c in _columns(reports, s)) for s in wire.STATES}
    at = [s.at_milliseconds for r in rounds for s in r.accelerators if s.device == divided.device]
    assert sum(times.values()) == at[-1] - at[0]
    assert times["unhealthy"] == 0
    assert times["unknown"] <= 5 / 7 * max(b - a for a, b in pairwise(at)) + len(reports)
    assert times["free"] == pytest.approx((at[-1] - at[0]) * 2 / 7, abs=len(reports))
    # The first reading of a process only finds out whether there is a counter.
    served = [one.millijoules for one in stand_in.served(0)[1:]]
    joules = math.fsum(
        values[column] or 0.0
        for report in reports
        if report.accelerators is not None
        for values in report.accelerators.state_joules.values()
    )
    assert round(joules * 1000) == served[-1] - served[0] > 0
    _check_rows(reports, inventory, column)


def _reports(rounds: list[Readings], inventory: wire.Inventory) -> list[wire.Report]:
    at = [sample.at_milliseconds for each in rounds for sample in each.accelerators]
    sums = NodeSums("site-a", NODE, LENGTH)
    for readings in rounds:
        sums.feed(readings, GAP)
    closed = [sums.close(s, inventory) for s in range(min(at) // 1000, max(at) // 1000 + 1, LENGTH)]
    return [wire.decode_report(wire.encode(report)) for report in closed if report is not None]


def _columns(reports: list[wire.Report], state: wire.State) -> list[list[int]]:
    found = [report.accelerators for report in reports if report.accelerators is not None]
    return [each.state_milliseconds[state] for each in found if state in each.state_milliseconds]


def _check_rows(reports: list[wire.Report], inventory: wire.Inventory, column: int) -> None:
    """Every row sums to the interval of its devices, and those in the middle have no unknown."""
    has = installed("site-a", NODE, inventory)
    for number, report in enumerate(reports):
        row = entry_of(report, has, index(), detail=False).node_row
        assert row is not None
        assert sum(sum(share.milliseconds) for share in row.shares) == 2 * LENGTH * 1000
        if 1 < number < len(reports) - 1:
            columns = report.accelerators
            assert columns is not None
            times = columns.state_milliseconds
            found = {state: values[column] for state, values in times.items()}
            assert found == {"active": 428, "held_idle": 286, "free": 286}
            assert isinstance(columns.energy_method, list)
            assert columns.energy_method[column] == "estimated"
            assert columns.energy_method[1 - column] == "counter"
