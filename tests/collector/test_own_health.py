"""What the collector writes about itself: amounts since the last point, gauges as they are."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_collector.app import Collector
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.own_health import OwnHealth
from meterhouse_collector.rows import Point
from tests.collector.collecting import LENGTH, SITE, Bench, index, now_on_grid, report, status
from tests.collector.hearing import DEADLINE_SECONDS, until
from tests.collector.test_app import collector

UP = "meterhouse_collector_store_up"


class Health(Bench):
    """A bench with a clock, whose health can be noted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = float(now_on_grid() + LENGTH + 2)
        self.noted: list[Point] = []
        live = Live(
            index(),
            Pace(LENGTH, 3.0, 300.0, 60.0),
            write=self.rows.append,
            bug=self.telemetry.bug,
            clock=lambda: self.now,
        )
        self.live = live
        self.health = OwnHealth(
            self.telemetry,
            live,
            index(),
            self.intake.agents,
            write=lambda row: self.noted.append(row) if isinstance(row, Point) else None,
            clock=lambda: self.now,
        )

    def note(self) -> tuple[dict[str, object], list[Point]]:
        self.noted.clear()
        self.health.note()
        assert self.count("bugs", where="own_health") == 0
        first, *refused = self.noted
        assert (first.policy, first.measurement) == ("live", "collector")
        assert first.tags == (("site", "site-a"),)
        assert all(isinstance(value, float) for value in first.fields.values())
        return dict(first.fields), refused


def test_counters_are_written_as_what_was_counted_since() -> None:
    bench = Health()
    bench.hear(status(), report(start=now_on_grid()), report(start=now_on_grid() - LENGTH))
    fields, refused = bench.note()
    assert (fields["reports"], fields["refused"], refused) == (2, 0, [])
    bench.hear(report(start=now_on_grid()))
    assert bench.note()[0]["reports"] == 1
    assert bench.note()[0]["reports"] == 0


def test_each_reason_of_a_refusal_has_a_point_of_its_own() -> None:
    bench = Health()
    # Nobody has told of its inventory, and its length is none of the site's.
    bench.hear(report(), report(length_seconds=7))
    fields, refused = bench.note()
    assert fields["refused"] == 2
    assert {(dict(p.tags)["reason"], dict(p.tags)["final"]): p.fields for p in refused} == {
        ("unknown_inventory", "false"): {"reports": 1.0},
        ("off_grid", "true"): {"reports": 1.0},
    }
    assert bench.note()[1] == []


def test_nodes_of_the_register_that_do_not_report_are_silent() -> None:
    bench = Health()
    assert bench.note()[0]["silent_nodes"] == 2
    bench.hear(status(), report())
    bench.now = bench.intake.agents["node-1"].report_seconds + 1
    fields, _ = bench.note()
    assert (fields["nodes"], fields["silent_nodes"]) == (2, 1)
    bench.now += 3 * LENGTH
    assert bench.note()[0]["silent_nodes"] == 2


@pytest.mark.asyncio
async def test_freshness_is_the_age_of_the_newest_rollup() -> None:
    bench = Health()
    assert "freshness_seconds" not in bench.note()[0]
    assert "quarter_age_seconds" not in bench.note()[0]
    bench.now += LENGTH
    await bench.live.roll()
    bench.now += LENGTH
    await bench.live.roll()
    newest = bench.live.newest()
    assert newest is not None
    bench.telemetry.last_quarter.set(bench.now - wire.QUARTER_SECONDS - 30)
    fields, _ = bench.note()
    assert fields["freshness_seconds"] == bench.now - newest - LENGTH
    assert fields["quarter_age_seconds"] == pytest.approx(30)


def test_gauges_and_alerts_are_written_as_they_are() -> None:
    bench = Health()
    bench.telemetry.waiting.set(7)
    bench.telemetry.alerts.labels("pue", "firing").set(2)
    bench.telemetry.alerts.labels("idle", "firing").set(1)
    bench.telemetry.alerts.labels("idle", "pending").set(4)
    fields, _ = bench.note()
    assert fields["spool_reports"] == 7
    assert (fields["alerts_firing"], fields["alerts_pending"]) == (3, 4)


async def test_a_running_collector_writes_of_itself_and_of_its_limits(tmp_path: Path) -> None:
    made = collector(tmp_path, socket={"path": str(tmp_path / "c.sock")}, interval="1s", held="60s")
    feed = '[[grid_connection]]\nname = "feed"\ncontracted_watts = 1000.0\nmarginal_pue = 1.2\n'
    (tmp_path / "site.toml").write_text(f"{SITE}\n{feed}")
    it = Collector(made.config)
    task = asyncio.create_task(it.run(), name="collector")
    found: dict[str, list[Point]] = {"collector": [], "limit": [], "demand": []}
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await until(lambda: bool(it.telemetry.registry.get_sample_value(UP)))
            while not all(found.values()):
                await asyncio.sleep(0.2)
                found = {name: await written(it, name) for name in found}
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert found["collector"][0].fields["nodes"] == 2
    # Nothing is measured here, so there is a limit and no load.
    assert found["limit"][0].fields == {"limit_watts": 1000.0}
    assert "projected_watts" not in found["demand"][0].fields


async def written(it: Collector, measurement: str) -> list[Point]:
    return await it.store.points("live", measurement, start_seconds=0, end_seconds=2**40)
