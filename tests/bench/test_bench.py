"""The pure parts of the benchmarks: the load's distinctness, and the arithmetic of the figures."""

import math
import os
import time
from http.client import HTTPConnection

from meterhouse_agent import wire
from tests.bench import figures, fleet, pages, prometheus, usage
from tests.bench.agent import AgentMeasured
from tests.bench.consumers import Mode, site_model
from tests.bench.figures import Figure
from tests.bench.fleet import DEVICES, METRICS, Fleet
from tests.bench.scale import Scaled, Size, Store
from tests.bench.sink import Sink
from tests.bench.stretch import Measured, Plan

FLEET = Fleet(nodes=20, length_seconds=5)
NO_COLUMNS = {"energy_method", "unhealthy_reasons", "xids"}
COLUMNS = frozenset(wire.Accelerators.__struct_fields__) - NO_COLUMNS


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
        seconds=60.0, cpu_seconds=0.9, pss_bytes=49_000_000, processes=2, answers=12
    )
    found = figures.of_agent(agent)
    assert found[0] == Figure("agent_cpu_percent", 1.5, "percent")
    assert [figure.name for figure, _ in figures.missed(found)] == ["agent_cpu_percent"]
    assert found[0].line() == "agent_cpu_percent 1.5 percent"


def scaled(
    nodes: int,
    length: int,
    kind: tuple[Mode, Store],
    *,
    cpu_seconds: float = 3.0,
    pss_bytes: int = 100_000_000,
) -> Scaled:
    size = Size(nodes, length, kind[1], Plan(1, 4), kind[0])
    cost = measured("collector", cpu_seconds=cpu_seconds)._replace(pss_bytes=pss_bytes)
    return Scaled(size, cost, [2.0, 1.0, 1.5])


def test_figures_of_sizes_are_those_of_the_largest_fleet_and_of_the_curve() -> None:
    found = {
        figure.name: figure.value
        for figure in figures.of_sizes(
            [
                scaled(
                    125, 5, ("without_detail", "discards"), cpu_seconds=4.0, pss_bytes=10_000_000
                ),
                scaled(12_500, 5, ("without_detail", "discards"), pss_bytes=208_000_000),
                scaled(12_500, 1, ("as_shipped", "discards"), cpu_seconds=45.0),
                scaled(12_500, 5, ("as_shipped", "InfluxDB"), cpu_seconds=30.0),
                scaled(6250, 5, ("as_shipped", "InfluxDB")),
            ]
        )
    }
    assert found["collector_cpu_ratio_100k_to_1k"] == 0.75
    assert found["collector_kb_per_accelerator"] == 2.0
    # 100,000 took 45 of 60 seconds of a core.
    assert found["collector_cores_at_100k_at_1s"] == 0.75
    assert found["max_accelerators_per_core_at_1s"] == 100_000 / 0.75
    assert found["max_accelerators_per_core_at_5s"] == 200_000
    # 62 us for each of 20,000 samples in a second: collector, InfluxDB and broker.
    assert math.isclose(found["server_side_cores_at_100k_at_5s"], 62e-6 * 20_000)
    assert found["freshness_p50_ms"] == 1500
    assert found["freshness_p99_ms"] == 2000


def test_what_all_of_ours_cost_is_set_against_prometheus_round_by_round() -> None:
    ours = [measured(figures.AS_SHIPPED, cpu_seconds=cpu) for cpu in (8.0, 18.0)]
    theirs = [measured("prometheus", cpu_seconds=cpu) for cpu in (80.0, 200.0)]
    found = {figure.name: figure.value for figure in figures.of_scraped(ours, theirs)}
    assert found["prometheus_cpu_us_per_sample"] == 140.0
    assert found["server_side_cpu_us_per_sample"] == 45.0
    # 40 of 80, and 50 of 200.
    assert math.isclose(found["server_side_vs_prometheus_cpu_ratio"], 0.375)


def test_a_page_has_every_field_and_the_state_of_every_device() -> None:
    text = pages.page(FLEET, 3, 1).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == DEVICES * prometheus.series_per_device(FLEET)
    for device, sample in zip(FLEET.inventory(3).devices, FLEET.samples(3, 1), strict=True):
        mine = [line for line in lines if f'device="{device.device}"' in line]
        said = {line.partition("{")[0]: float(line.rsplit(" ", 1)[1]) for line in mine}
        state = wire.STATES[int(said.pop(pages.STATE))]
        assert sample.milliseconds[state] == max(sample.milliseconds.values())
        assert said == sample.fields()
    assert len({pages.page(FLEET, node, n) for node in range(20) for n in range(2)}) == 40


def test_the_sink_counts_lines_by_measurement_and_answers_queries() -> None:
    with Sink() as sink:
        body = b"node,thing=a row=1 1\nnode,thing=b row=1 1\naccelerator,node=a x=1 1"
        connection = HTTPConnection("127.0.0.1", int(sink.url.rpartition(":")[2]), timeout=10)
        for _ in range(2):
            connection.request("POST", "/api/v2/write?bucket=b", body)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (204, b"")
        connection.request("POST", "/query", b"q=SELECT")
        assert b"results" in connection.getresponse().read()
        connection.close()
        assert sink.counts() == {"node": 4, "accelerator": 2}


def test_the_kernel_s_books_agree_with_this_process() -> None:
    before = time.process_time()
    found = usage.cpu_seconds(os.getpid())
    assert before <= found <= time.process_time()
    assert usage.tree(os.getpid())[0] == os.getpid()
    assert usage.pss_bytes(os.getpid()) > 1_000_000
