"""The pure parts of the benchmarks: the load's distinctness, and the arithmetic of the figures."""

import math
import os
import time

from meterhouse_agent import wire
from tests.bench import figures, fleet, usage
from tests.bench.agent import AgentMeasured
from tests.bench.consumers import site_model
from tests.bench.figures import Figure
from tests.bench.fleet import DEVICES, METRICS, Fleet
from tests.bench.stretch import Measured

FLEET = Fleet(nodes=20, length_seconds=5)
COLUMNS = frozenset(wire.Accelerators.__struct_fields__) - {"energy_method", "unhealthy_reasons"}


def measured(consumer: str, *, cpu_seconds: float, lost: int = 0) -> Measured:
    return Measured(
        consumer=consumer,
        samples=1_000_000,
        seconds=60.0,
        cpu_seconds=cpu_seconds,
        influx_cpu_seconds=30.0,
        broker_cpu_seconds=2.0,
        pss_bytes=100_000_000,
        influx_pss_bytes=500_000_000,
        wire_bytes=170.0,
        lost=lost,
        late_seconds=0.01,
    )


def test_every_message_of_the_load_is_distinct_and_of_the_contract() -> None:
    payloads = {FLEET.report(node, interval) for node in range(20) for interval in range(3)}
    assert len(payloads) == 60
    assert len(COLUMNS) == METRICS
    for payload in payloads:
        report = wire.decode_report(fleet.at(payload, 1_800_000_000))
        assert report.start_seconds == 1_800_000_000
        assert report.accelerators is not None
        for name in COLUMNS:
            assert getattr(report.accelerators, name), name
        milliseconds = report.accelerators.state_milliseconds.values()
        assert {sum(device) for device in zip(*milliseconds, strict=True)} == {5000}


def test_only_times_hold_the_marker() -> None:
    marker = str(fleet.MARKER_SECONDS).encode()
    for node in range(20):
        assert FLEET.report(node, 0).count(marker) == 1
        assert FLEET.lines(node, 0).count(marker) == DEVICES
        assert FLEET.status(node).count(marker) == 1


def test_both_forms_carry_the_same_samples() -> None:
    for node in range(10):
        report = wire.decode_report(FLEET.report(node, 1))
        columns = report.accelerators
        assert columns is not None
        lines = FLEET.lines(node, 1).decode().split("\n")
        for position, line in enumerate(lines):
            pairs = (pair.split("=") for pair in line.split(" ")[1].split(","))
            fields = {name: float(value) for name, value in pairs}
            joules = math.fsum(column[position] or 0.0 for column in columns.state_joules.values())
            assert fields.pop("energy_joules") == joules
            assert fields == {name: getattr(columns, name)[position] for name in fields}


def test_a_status_has_the_inventory_that_the_reports_name() -> None:
    status = wire.decode_status(fleet.at(FLEET.status(3), 1_800_000_000))
    report = wire.decode_report(FLEET.report(3, 0))
    assert status.inventory is not None
    assert wire.inventory_hash(status.inventory) == status.inventory_hash == report.inventory_hash


def test_every_node_of_the_fleet_is_in_the_site_model() -> None:
    text = site_model(FLEET)
    assert all(text.count(f'"{FLEET.node(index)}"') == 1 for index in range(FLEET.nodes))


def test_figures_are_medians_and_ratios_of_one_round() -> None:
    stretches = [
        measured(name, cpu_seconds=cpu)
        for shipped, same, peer in ((10.0, 20.0, 20.0), (12.0, 30.0, 10.0), (90.0, 90.0, 100.0))
        for name, cpu in (
            (figures.AS_SHIPPED, shipped),
            (figures.SAME_POINTS, same),
            (figures.TELEGRAF, peer),
        )
    ]
    found = {figure.name: figure.value for figure in figures.of_stretches(stretches)}
    assert found["collector_cpu_us_per_sample"] == 12.0
    assert found["collector_cpu_us_per_sample_same_points"] == 30.0
    assert found["telegraf_cpu_us_per_sample"] == 20.0
    assert found["collector_vs_telegraf_cpu_ratio_same_points"] == 1.0
    assert found["collector_vs_telegraf_cpu_ratio_as_shipped"] == 0.9
    assert found["collector_cpu_seconds_per_million_samples"] == 12.0
    assert found["influx_cpu_us_per_sample"] == 30.0
    assert found["broker_cpu_us_per_sample_telegraf"] == 2.0
    assert found["collector_pss_mb"] == 100.0
    assert found["samples_lost"] == 0.0


def test_losses_and_surpluses_do_not_cancel_out() -> None:
    stretches = [
        measured(figures.AS_SHIPPED, cpu_seconds=1.0, lost=8),
        measured(figures.SAME_POINTS, cpu_seconds=1.0, lost=-8),
        measured(figures.TELEGRAF, cpu_seconds=1.0),
    ]
    found = {figure.name: figure.value for figure in figures.of_stretches(stretches)}
    assert found["samples_lost"] == 16.0


def test_a_figure_above_its_target_is_missed() -> None:
    agent = AgentMeasured(
        seconds=60.0, cpu_seconds=0.9, pss_bytes=59_000_000, processes=2, reports_stored=12
    )
    found = figures.of_agent(agent)
    assert found[0] == Figure("agent_cpu_percent", 1.5, "percent")
    assert [figure.name for figure, _ in figures.missed(found)] == ["agent_cpu_percent"]
    assert found[0].line() == "agent_cpu_percent 1.5 percent"


def test_the_kernel_s_books_agree_with_this_process() -> None:
    before = time.process_time()
    found = usage.cpu_seconds(os.getpid())
    assert before <= found <= time.process_time()
    assert usage.tree(os.getpid())[0] == os.getpid()
    assert usage.pss_bytes(os.getpid()) > 1_000_000
