"""A node whose spool is full, whose disk is full, or whose clock is stepped."""

import time
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from meterhouse_agent.simulation.fleet import METERS
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.wire import Span
from tests.e2e.equality import Comparison, lifetimes
from tests.e2e.fleet_run import FleetRun, Record, all_in_one, small_fleet
from tests.e2e.node_faults import Disk, FakeClock
from tests.e2e.programs import wait_for_text

SPOOL_BYTES: Final = 64 * 1024
DROPPED: Final = "meterhouse_agent_dropped_total"
STEP_SECONDS: Final = 120
STAY_SECONDS: Final = 6
NODE: Final = "sim-000"


def test_a_full_spool_drops_its_oldest_reports_and_counts_them(
    tmp_path: Path, record_property: Record
) -> None:
    fleet = small_fleet(nodes=1, devices_per_node=64, engine_devices=32)
    spool = {"max_bytes": SPOOL_BYTES}
    with FleetRun(tmp_path, fleet, {"one": [NODE]}, interval=1, spool=spool) as run:
        agent = run.agents["one"]
        run.start()
        agent.start()
        run.wait_for_reports()
        first = run.spooled(NODE)[0]
        run.wait_until(lambda: agent.metric(DROPPED, reason="spool_full") > 1, "some are dropped")
        run.collector.start()
        wait_for_text(agent, "the spool has room again")
        end = run.settle()

        dropped = round(agent.metric(DROPPED, reason="spool_full"))
        ledger = run.read(first, end)
        starts = sorted(key.start_seconds for key in ledger.nodes)
        # Each that is missing was counted; one may have been on its way when it was dropped.
        assert first + dropped - starts[0] in (0, 1)
        assert starts == [*range(starts[0], end)]
        comparison = Comparison(FleetModel(fleet), 1)
        comparison.rows(ledger, starts[0] + 1, end)
        assert comparison.wrong == []
        assert comparison.partial == 0
        record_property("reports dropped", dropped)
        record_property("rows equal to the truth", comparison.complete)
        assert agent.text().count("spool_full") == 1
        run.assert_logs_are_clean()


def test_a_full_disk_costs_nothing_while_the_agent_lives(
    tmp_path: Path, record_property: Record
) -> None:
    fleet = small_fleet(nodes=2)
    with Disk(tmp_path / "disk") as disk:
        spool = {"directory": disk.folder / "spool"}
        with FleetRun(tmp_path, fleet, all_in_one(fleet), interval=1, spool=spool) as run:
            agent = run.agents["all"]
            run.start_all()
            run.wait_for_reports()
            run.sleep(2)
            with disk.no_space(agent):
                for node in run.nodes:
                    wait_for_text(agent, f"{node}.spool")
                full = int(time.time())
                run.wait_until(lambda: len(run.read(full, full + 2).nodes) > 0, "it goes on")
            for node in run.nodes:
                wait_for_text(agent, f"{node}: the spool is written again")
            end = run.settle()

            comparison = run.assert_equal_to_the_truth(end, record_property)
            assert comparison.partial == 0
            assert agent.text().count("kept in memory until") == len(run.nodes)
            assert agent.text().count("the spool is written again") == len(run.nodes)
            assert agent.metric(DROPPED) == 0
            run.assert_logs_are_clean()


def step_to_and_fro(run: FleetRun, clock: FakeClock) -> None:
    """Begin behind the true time, step to it, back again, and to it again."""
    clock.step_to(-STEP_SECONDS)
    run.start_all()
    run.wait_for_reports()
    run.sleep(STAY_SECONDS)
    clock.step_to(0)
    stepped = int(time.time())
    run.wait_until(lambda: run.closed_until(NODE) > stepped, "it reports the new time")
    run.sleep(STAY_SECONDS)
    clock.step_to(-STEP_SECONDS)
    wait_for_text(run.agents["one"], "the clock is behind")
    run.sleep(1)
    before = run.closed_until(NODE)
    run.sleep(STAY_SECONDS)
    assert run.closed_until(NODE) == before
    clock.step_to(0)
    run.wait_until(lambda: run.closed_until(NODE) > before, "it reports again")
    run.sleep(STAY_SECONDS)


def assert_a_span_for_each_step(spans: Sequence[Span], starts: Iterable[int]) -> None:
    """Assert one span of each quantity for each step, and no interval that was stepped over."""
    assert {span.reason for span in spans} == {"clock_step"}
    steps = Tally((span.thing, span.quantity, span.device) for span in spans)
    assert set(steps.values()) == {2}
    skipped = max(spans, key=lambda span: span.to_milliseconds - span.from_milliseconds)
    inside = range(skipped.from_milliseconds // 1000, skipped.to_milliseconds // 1000)
    assert len(inside) >= STEP_SECONDS - 2
    assert [start for start in starts if start in inside] == []


def test_a_clock_that_is_stepped_makes_a_span_and_no_interval_twice(
    tmp_path: Path, record_property: Record
) -> None:
    fleet = small_fleet(nodes=1)
    clock = FakeClock(tmp_path / "clock")
    environment = clock.environment()
    with FleetRun(tmp_path, fleet, {"one": [NODE]}, interval=1, environment=environment) as run:
        step_to_and_fro(run, clock)
        end = run.settle()

        ledger = run.read(run.begun - 2 * STEP_SECONDS, end)
        starts = {key.start_seconds for key in ledger.nodes}
        assert_a_span_for_each_step(ledger.spans, starts)
        model = FleetModel(fleet)
        comparison = Comparison(model, 1)
        missing = comparison.rows(ledger, min(starts), end)
        assert comparison.wrong == []
        stretches = {(s.from_milliseconds, s.to_milliseconds) for s in ledger.spans}
        for key in (key for key in missing if key.thing not in METERS):
            at = key.start_seconds * 1000
            assert any(first < at + 1000 and at < last for first, last in stretches), key
        for life in lifetimes(ledger, model, end):
            assert life.found == life.truth, life.thing
        record_property("rows equal to the truth", comparison.complete)
        record_property("spans", len(ledger.spans))
        run.assert_logs_are_clean()
