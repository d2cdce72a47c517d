"""A whole agent with a simulated node, heard over a Unix socket."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from math import fsum
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from meterhouse_agent.clock import Clock
from meterhouse_agent.config import AgentConfig, validate
from meterhouse_agent.loop import NodeAgent
from meterhouse_agent.simulation.fleet import FleetSpec
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.simulation.truth import truth_of
from meterhouse_agent.spool import spool_path
from meterhouse_agent.telemetry import Metrics, Telemetry
from meterhouse_agent.wire import (
    SCHEMA,
    MessageKind,
    Receipt,
    Report,
    Span,
    Status,
    decode_report,
    decode_status,
    encode,
    frame,
    parse_topic,
    read_frame,
    topic,
)
from tests.agent.links import lines, until
from tests.agent.walls import Wall

SITE, NODE = "site-a", "sim-000"


class Listener:
    """The other end of the socket; it answers each report with a receipt, if it is to."""

    def __init__(self) -> None:
        self.answers = True
        self.reports: list[Report] = []
        self._owed: set[int] = set()
        self.statuses: list[Status] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                where, payload = await read_frame(reader)
                if parse_topic(where).kind is MessageKind.STATUS:
                    self.statuses.append(decode_status(payload))
                    continue
                report = decode_report(payload)
                self._take(report)
                if self.answers:
                    self._answer(report, writer)
        writer.close()

    def look_into(self, spool: Path) -> None:
        """Expect again what came of an agent that ended before it had a receipt."""
        with contextlib.closing(sqlite3.connect(spool)) as database:
            left = {start for (start,) in database.execute("SELECT start_seconds FROM report")}
        self._owed = left & set(self.starts)

    def _take(self, report: Report) -> None:
        """Keep a report, but for what is owed: that comes once more, and is what it was."""
        if report.start_seconds not in self._owed:
            self.reports.append(report)
            return
        self._owed.remove(report.start_seconds)
        before = next(each for each in self.reports if each.start_seconds == report.start_seconds)
        assert replace(report, waiting=0, waiting_since_seconds=None) == replace(
            before, waiting=0, waiting_since_seconds=None
        )

    def _answer(self, report: Report, writer: asyncio.StreamWriter) -> None:
        receipt = Receipt(
            schema=SCHEMA,
            node=NODE,
            length_seconds=1,
            stored=[(report.start_seconds, report.start_seconds)],
            credit=report.waiting,
        )
        writer.write(frame(topic(SITE, NODE, MessageKind.RECEIPT), encode(receipt)))

    @property
    def starts(self) -> list[int]:
        return [report.start_seconds for report in self.reports]


def _energy(quantity: str) -> bool:
    return quantity == "energy_joules"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder whose path is short enough for a socket."""
    made = Path(tempfile.mkdtemp(prefix="mh-"))
    yield made
    shutil.rmtree(made)


def config(folder: Path, **more: Any) -> AgentConfig:  # noqa: ANN401 - a part of a config file
    table: dict[str, Any] = {
        "site": SITE,
        "play": [NODE],
        "interval": "1s",
        "socket": {"path": str(folder / "socket")},
        "spool": {"directory": str(folder / "spool")},
        "source": [{"kind": "simulated", "sample_every": "250ms"}],
    }
    return validate(table | more, "test")


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_unix_server(listener.serve, folder / "socket")
    try:
        yield listener
    finally:
        server.close()


class Agent:
    """An agent at work, with its metrics."""

    def __init__(self, config: AgentConfig, wall: Wall) -> None:
        self.metrics = Metrics(CollectorRegistry())
        telemetry = Telemetry(self.metrics, NODE)
        self.node = NodeAgent(config, NODE, telemetry, clock=Clock(wall.time_ns))

    def counted(self, name: str, **labels: str) -> float:
        labels["node"] = NODE
        return self.metrics.registry.get_sample_value(f"meterhouse_agent_{name}", labels) or 0.0


@asynccontextmanager
async def agent(config: AgentConfig, wall: Wall | None = None) -> AsyncIterator[Agent]:
    before = asyncio.all_tasks()
    made = Agent(config, wall or Wall())
    task = asyncio.create_task(made.node.run())
    try:
        yield made
    finally:
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        leaked = {t.get_name() for t in asyncio.all_tasks() - before if "serve" not in repr(t)}
        assert leaked == set()


async def test_it_reports_each_interval_of_the_grid_and_says_who_it_is(folder: Path) -> None:
    async with listening(folder) as listener, agent(config(folder)):
        await until(lambda: len(listener.reports) >= 4)

    starts = listener.starts
    assert starts == list(range(starts[0], starts[0] + len(starts)))
    whole = listener.reports[2]
    assert (whole.site, whole.node, whole.length_seconds) == (SITE, NODE, 1)
    assert whole.accelerators is not None
    per_device = zip(*whole.accelerators.state_milliseconds.values(), strict=True)
    assert [sum(states) for states in per_device] == [1000] * 8
    told = [s for s in listener.statuses if s.inventory_hash == whole.inventory_hash]
    assert told[0].inventory is not None
    assert len(told[0].inventory.devices) == 8
    assert [s.state for s in listener.statuses][-1] == "offline"
    assert {s.state for s in listener.statuses[:-1]} == {"online"}


async def test_a_restart_goes_on_with_a_span_and_repeats_no_interval(folder: Path) -> None:
    async with listening(folder) as listener:
        async with agent(config(folder)):
            await until(lambda: len(listener.reports) >= 2)
        first = sorted(set(listener.starts))
        listener.look_into(spool_path(folder / "spool", NODE))
        async with agent(config(folder)):
            await until(lambda: len(set(listener.starts)) >= len(first) + 2)

    assert len(set(listener.starts)) == len(listener.starts)
    spans = [span for report in listener.reports for span in report.spans]
    assert {span.reason for span in spans} == {"restart"}
    devices = {span.device for span in spans if _energy(span.quantity) and span.device}
    assert len(devices) == 8
    assert all(span.from_milliseconds == (first[-1] + 1) * 1000 for span in spans)
    assert all(span.to_milliseconds > span.from_milliseconds for span in spans)


async def test_a_process_that_is_held_up_right_after_a_reading_leaves_nothing_out(
    folder: Path,
) -> None:
    each_second = config(folder, source=[{"kind": "simulated", "sample_every": "1s"}])
    async with listening(folder) as listener, agent(each_second) as made:
        await until(lambda: len(listener.reports) >= 2)
        runner = made.node._runners[0]
        before = runner._tick
        # The reading that ends an interval is there, and the interval is not closed yet.
        await until(lambda: runner._tick > before)
        time.sleep(7)  # noqa: ASYNC251 - the whole process is held up, as by SIGSTOP
        held_until = before // 1000 + 8
        await until(lambda: listener.starts[-1] >= held_until)
        starts = sorted(listener.starts)
        assert starts == [*range(starts[0], starts[-1] + 1)]
        assert all(report.spans == [] for report in listener.reports)


async def test_without_receipts_all_waits_and_is_sent_when_they_come(folder: Path) -> None:
    async with agent(config(folder, resend_after="500ms")) as running:
        await until(lambda: running.counted("spool_reports") >= 2)
        async with listening(folder) as listener:
            await until(lambda: running.counted("spool_reports") == 0 and len(listener.reports) > 2)
    starts = sorted(set(listener.starts))
    assert starts == list(range(starts[0], starts[0] + len(starts)))


async def test_a_step_backward_holds_all_back_and_becomes_a_span(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    async with listening(folder) as listener, agent(config(folder), wall) as running:
        await until(lambda: len(listener.reports) >= 2)
        wall.step(-3)
        await until(lambda: lines(caplog.records, "nothing is reported for") == 1)
        count = len(listener.reports)
        await until(lambda: len(listener.reports) >= count + 3)

    assert listener.starts == sorted(set(listener.starts))
    reasons = {span.reason for report in listener.reports for span in report.spans}
    assert reasons == {"clock_step"}
    assert running.counted("events_total", event="clock_step") == 1
    assert lines(caplog.records, "clock was stepped by -3") == 1


async def test_a_step_forward_leaves_intervals_out(folder: Path) -> None:
    wall = Wall()
    async with listening(folder) as listener, agent(config(folder), wall):
        await until(lambda: len(listener.reports) >= 2)
        wall.step(3600)
        last = listener.starts[-1]
        await until(lambda: listener.starts[-1] >= last + 3600)
        count = len(listener.reports)
        await until(lambda: len(listener.reports) >= count + 2)

    assert listener.starts == sorted(set(listener.starts))
    skipped = [s for s in listener.starts if last + 10 < s < last + 3590]
    assert skipped == []
    reasons = {span.reason for report in listener.reports for span in report.spans}
    assert reasons == {"clock_step"}


def _node_joules(reports: Iterable[Report]) -> float:
    rows = [r.host.energy_joules or 0.0 for r in reports if r.host is not None]
    spans = [s.amount for r in reports for s in r.spans if s.device is None and _node_energy(s)]
    return fsum([*rows, *spans])


def _node_energy(span: Span) -> bool:
    return (span.kind, span.quantity) == ("node", "energy_joules")


async def test_a_step_backward_inside_an_interval_leads_no_span_backward(folder: Path) -> None:
    wall = Wall()
    long = config(folder, interval="5s")
    async with listening(folder) as listener, agent(long, wall) as running:
        timeline = running.node._sums.timeline
        await until(lambda: len(listener.reports) >= 1)
        await until(lambda: wall.time_ns() // 10**6 - timeline.closed_until_milliseconds > 3500)
        wall.step(-2)
        await until(lambda: running.counted("events_total", event="clock_behind") == 1)
        await until(lambda: len(listener.reports) >= 3)

    spans = [span for report in listener.reports for span in report.spans]
    assert {span.reason for span in spans} == {"clock_step"}
    assert all(span.from_milliseconds <= span.to_milliseconds for span in spans)
    assert running.counted("events_total", event="counter_jitter") == 0


async def test_a_step_forward_and_back_is_told_once_by_whoever_lives(folder: Path) -> None:
    wall = Wall()
    each_second = config(folder, source=[{"kind": "simulated", "sample_every": "1s"}])
    async with listening(folder) as listener:
        async with agent(each_second, wall):
            await until(lambda: len(listener.reports) >= 2)
            wall.step(60)
            ahead = wall.time_ns() // 10**9
            await until(lambda: any(report.spans for report in listener.reports))
        count = len(listener.reports)
        listener.look_into(spool_path(folder / "spool", NODE))
        wall.step(-57)
        async with agent(each_second, wall) as running:
            await asyncio.sleep(1)
            assert len(listener.reports) == count
            wall.step(57)
            await until(lambda: len(listener.reports) >= count + 2)

    starts = listener.starts
    assert starts == sorted(set(starts))
    assert [start for start in starts if starts[0] + 20 < start < ahead] == []
    whole = truth_of(FleetModel(FleetSpec()), starts[0], starts[-1] + 1, 1)
    drawn = next(node.energy_millijoules for node in whole.nodes if node.node == NODE)
    assert _node_joules(listener.reports) == pytest.approx(drawn / 1000, rel=1e-9)
    assert running.counted("events_total", event="counter_restart") == 0


async def test_a_clock_that_is_behind_at_the_start_repeats_no_interval(folder: Path) -> None:
    async with listening(folder) as listener:
        ahead = Wall()
        ahead.step(6)
        async with agent(config(folder), ahead):
            await until(lambda: len(listener.reports) >= 2)
        known = set(listener.starts)
        listener.look_into(spool_path(folder / "spool", NODE))
        async with agent(config(folder)) as running:
            await until(lambda: len(set(listener.starts) - known) >= 2)

    assert running.counted("events_total", event="clock_behind") == 1
    assert min(set(listener.starts) - known) > max(known)
    assert len(set(listener.starts)) == len(listener.starts)
    for report in listener.reports:
        for span in report.spans:
            assert span.from_milliseconds <= span.to_milliseconds


async def test_a_spool_that_cannot_be_made_stops_no_report(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    in_the_way = folder / "spool"
    in_the_way.write_text("no folder")
    async with listening(folder) as listener, agent(config(folder)):
        await until(lambda: len(listener.reports) >= 3)
        assert lines(caplog.records, "kept in memory") == 1
        in_the_way.unlink()
        await until(lambda: lines(caplog.records, "the spool is written again") == 1)
        count = len(listener.reports)
        await until(lambda: len(listener.reports) > count)

    assert lines(caplog.records, "kept in memory") == 1


async def test_a_source_that_fails_shows_in_the_status_and_silences_no_other(folder: Path) -> None:
    sources = [
        {"kind": "simulated", "sample_every": "250ms"},
        {"kind": "host", "procfs_root": str(folder / "none"), "sysfs_root": str(folder / "none")},
    ]
    async with listening(folder) as listener, agent(config(folder, source=sources)):
        await until(lambda: len(listener.reports) >= 2)
        await until(
            lambda: any(
                {s.source: s.state for s in status.sources}.get("simulated") == "ok"
                for status in listener.statuses
            )
        )

    states = {s.source: s.state for s in listener.statuses[-1].sources}
    assert states["simulated"] == "ok"
    assert states["host"] != "ok"
