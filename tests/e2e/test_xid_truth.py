"""A fault that the driver tells, from its C library to the alert."""

from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.samples import Readings
from meterhouse_collector.alerts.known import Fault
from meterhouse_collector.alerts.xids import XidWatch
from meterhouse_collector.ledger import entry_of, installed
from meterhouse_collector.rows import Point
from meterhouse_collector.xids import told
from tests.agent.nvml_source import opened
from tests.collector.collecting import index
from tests.stand_ins import nvml as driver

LENGTH = 5
GAP = 60_000.0


async def test_what_the_driver_tells_is_an_event_and_what_is_fatal_of_it_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = driver.Nvml(tmp_path / "nvml", count=2)
    for name, value in stand_in.environment().items():
        monkeypatch.setenv(name, value)
    rounds: list[Readings] = []
    async with opened() as source:
        rounds += [await source.read(0), await source.read(0)]
        stand_in.tell(1, 31, 79)
        stand_in.tell(7, 48)
        rounds += [await source.read(0), await source.read(0)]
        inventory = wire.Inventory(devices=list(source.things().devices))
    last = max(sample.at_milliseconds for each in rounds for sample in each.accelerators)
    first = min(sample.at_milliseconds for each in rounds for sample in each.accelerators)
    sums = NodeSums("site-a", "node-1", LENGTH)
    for readings in rounds:
        sums.feed(readings, GAP)
    watch, events = XidWatch(), list[tuple[str, float]]()
    for start in range(first // 1000 // LENGTH * LENGTH, last // 1000 + 1, LENGTH):
        report = sums.close(start, inventory)
        if report is None:
            continue
        taken = wire.decode_report(wire.encode(report))
        entry = entry_of(taken, installed("site-a", "node-1", inventory), index(), detail=False)
        watch.add(told(entry.node, entry.start_seconds, entry.xids))
        events += [
            (dict(row.tags)["device"], float(row.fields["code"]))
            for row in entry.rows
            if isinstance(row, Point)
        ]
    device = stand_in.gpus[1].device
    assert events == [(device, 31.0), (device, 79.0)]
    assert watch.faults(last / 1000) == (Fault("node-1", device, 79, 1.0),)
