"""The runner: each source by itself, bounded, told of once, and replayed where it can be."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from meterhouse_agent.clock import Clock
from meterhouse_agent.runner import SourceRunner
from meterhouse_agent.samples import AcceleratorSample, HostSample, Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.sources import SourceAbsentError, SourceError, SourceUnresponsiveError
from meterhouse_agent.telemetry import Metrics, Telemetry
from tests.agent.links import lines, until
from tests.agent.walls import Wall

PERIOD = 100
INTERVAL = 500


class Scripted:
    """A source that does what the test has put into ``trouble``."""

    def __init__(self, *, replayable: bool = False) -> None:
        self.replayable = replayable
        self.trouble: Callable[[], None] | None = None
        self.opening: Callable[[], None] | None = None
        self.closing: Callable[[], None] | None = None
        self.hangs = False
        self.ticks: list[int] = []
        self.opened = 0
        self.closed = 0

    async def open(self) -> None:
        self.opened += 1
        if self.opening is not None:
            self.opening()

    def things(self) -> Things:
        return Things(meters=("hall-1",))

    async def read(self, at_milliseconds: int) -> Readings:
        self.ticks.append(at_milliseconds)
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            self.trouble()
        return Readings(host=HostSample(at_milliseconds=at_milliseconds))

    async def close(self) -> None:
        self.closed += 1
        if self.closing is not None:
            self.closing()


class Leaving(Scripted):
    """A source that can be left alone, as long as ``refuses`` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False
        self.left: list[int] = []

    def leave(self, at_milliseconds: int) -> bool:
        if not self.refuses:
            self.left.append(at_milliseconds)
        return not self.refuses

    async def read(self, at_milliseconds: int) -> Readings:
        readings = await super().read(at_milliseconds)
        samples = (*self.left[-2:], at_milliseconds)
        return replace(
            readings,
            accelerators=tuple(
                AcceleratorSample(device="gpu-1", at_milliseconds=s) for s in samples
            ),
        )


class Running:
    """A runner at work, and what it fed."""

    def __init__(self, source: Scripted, wall: Wall, interval: int) -> None:
        self.source = source
        self.wall = wall
        self.fed: list[int] = []
        self.samples: list[tuple[int, ...]] = []
        self.faulty = False
        self.metrics = Metrics(CollectorRegistry())
        self.runner = SourceRunner(
            source,
            SourceConfig.model_validate(
                {"kind": "scripted", "sample_every": f"{PERIOD}ms", "deadline": "300ms"}
            ),
            interval_milliseconds=interval,
            clock=Clock(wall.time_ns),
            telemetry=Telemetry(self.metrics, "node-1"),
            feed=self._feed,
            changed=lambda: None,
        )

    def _feed(self, readings: Readings, max_gap_milliseconds: float) -> None:
        assert max_gap_milliseconds > PERIOD
        if self.faulty:
            raise ValueError("a sum that cannot be")
        assert readings.host is not None
        self.fed.append(readings.host.at_milliseconds)
        self.samples.append(tuple(sample.at_milliseconds for sample in readings.accelerators))

    @property
    def state(self) -> str:
        return self.runner.state.state

    def rounds(self, outcome: str) -> float:
        labels = {"node": "node-1", "source": "scripted", "outcome": outcome}
        name = "meterhouse_agent_source_rounds_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running(source: Scripted, interval: int = INTERVAL) -> AsyncIterator[Running]:
    run = Running(source, Wall(), interval)
    task = asyncio.create_task(run.runner.run())
    try:
        yield run
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert source.closed == source.opened


def fail(error: Exception) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


async def test_it_reads_on_its_own_ticks() -> None:
    async with running(Scripted()) as run:
        await until(lambda: len(run.fed) >= 5)

    assert all(tick % PERIOD == 0 for tick in run.fed)
    assert run.fed == sorted(set(run.fed))
    assert (run.source.opened, run.runner.things) == (1, Things(meters=("hall-1",)))


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SourceError("broken"), "failed"),
        (SourceAbsentError("not here"), "absent"),
        (SourceUnresponsiveError("hangs"), "unresponsive"),
        (ZeroDivisionError("a bug"), "failed"),
        (OSError(5, "a cable"), "failed"),
    ],
)
async def test_trouble_is_told_once_and_so_is_its_end(
    error: Exception, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(Scripted()) as run:
        await until(lambda: len(run.fed) > 0)
        run.source.trouble = fail(error)
        await until(lambda: run.rounds(state) >= 3)
        assert run.state == state
        assert str(error.args[-1]) in run.runner.state.detail
        run.source.trouble = None
        await until(lambda: run.state == "ok")

    assert len(caplog.records) == 2
    assert lines(caplog.records, f"source scripted {state}") == 1
    assert lines(caplog.records, "reads again") == 1


async def test_a_read_that_hangs_is_given_up_and_tried_again() -> None:
    source = Scripted()
    source.hangs = True
    async with running(source) as run:
        await until(lambda: run.rounds("failed") >= 2)
        assert not run.runner.owes(run.source.ticks[-1] + PERIOD)
        source.hangs = False
        await until(lambda: run.state == "ok")


async def test_readings_that_cannot_be_summed_stop_nothing() -> None:
    async with running(Scripted()) as run:
        run.faulty = True
        await until(lambda: run.state == "failed")
        assert "a sum that cannot be" in run.runner.state.detail
        run.faulty = False
        await until(lambda: run.state == "ok")


@pytest.mark.parametrize("error", [SourceError("no"), OSError(5, "no"), RuntimeError("no")])
async def test_an_opening_that_fails_is_tried_again(error: Exception) -> None:
    source = Scripted()
    source.opening = fail(error)
    source.closing = fail(RuntimeError("and the closing too"))
    async with running(source) as run:
        await until(lambda: source.opened >= 2)
        source.opening = None
        await until(lambda: run.state == "ok")


async def test_missed_ticks_are_read_later_only_where_they_can_be() -> None:
    for replayable in (True, False):
        source = Scripted(replayable=replayable)
        async with running(source) as run:
            await until(lambda: len(run.fed) >= 2)
            source.hangs = True
            await until(lambda: run.state == "failed")
            source.hangs = False
            await until(lambda: run.state == "ok")
            await until(lambda: len(run.fed) >= 6)
        gaps = {
            after - before for before, after in zip(source.ticks, source.ticks[1:], strict=False)
        }
        assert (gaps == {PERIOD}) is replayable


async def test_a_step_forward_replays_nothing_and_one_backward_repeats_nothing() -> None:
    async with running(Scripted(replayable=True)) as run:
        await until(lambda: len(run.fed) >= 2)
        run.wall.step(20)
        count = len(run.fed)
        await until(lambda: len(run.fed) >= count + 3)
        assert max(b - a for a, b in zip(run.fed, run.fed[1:], strict=False)) >= 19_000
        run.wall.step(-1)
        count = len(run.fed)
        await until(lambda: len(run.fed) >= count + 3)

    assert run.fed == sorted(set(run.fed))
    assert len(run.fed) < 100


async def test_a_reading_is_owed_at_the_end_of_an_interval_until_it_is_there() -> None:
    async with running(Scripted()) as run:
        await until(lambda: run.state == "ok")
        last = run.fed[-1]

        assert run.runner.owes(last + 10 * PERIOD)
        assert not run.runner.owes(last + 10 * PERIOD + 1)
        assert not run.runner.owes(last - PERIOD)


async def test_a_source_that_can_be_left_is_read_at_the_end_of_the_interval() -> None:
    source = Leaving()
    async with running(source) as run:
        await until(lambda: len(source.ticks) >= 4)
        rounds = run.rounds("ok")

    # The first tick shows whether it answers at all; one that was late is read as well.
    ends = [tick for tick in source.ticks if tick % INTERVAL == 0]
    assert len(ends) >= 2
    assert source.left
    assert all(tick % INTERVAL for tick in source.left)
    assert not set(source.ticks) & set(source.left)
    assert rounds >= len(ends) + len([tick for tick in source.left if tick < ends[-1]])


async def test_what_does_not_fit_an_interval_is_read_before_it_ends() -> None:
    source = Leaving()
    async with running(source, interval=250) as run:
        await until(lambda: len(source.left) >= 4 and len(run.fed) >= 4)

    assert all(tick % 250 + PERIOD <= 250 for tick in source.left)


async def test_a_source_that_cannot_be_left_now_or_that_fails_is_read_each_time() -> None:
    source = Leaving()
    source.refuses = True
    async with running(source) as run:
        await until(lambda: len(run.fed) >= 6)
        assert any(tick % INTERVAL for tick in run.fed[1:])
        source.trouble = fail(SourceError("broken"))
        await until(lambda: run.state == "failed")
        source.refuses = False
        await until(lambda: run.rounds("failed") >= 6)
        assert source.left == []
        source.trouble = None
        await until(lambda: len(source.left) > 0)


async def test_a_step_of_the_clock_ends_what_was_left_and_only_the_newest_counts() -> None:
    source = Leaving()
    async with running(source, interval=3_600_000) as run:
        await until(lambda: len(source.left) >= 2)
        count = len(run.fed)
        run.wall.step(20)
        await until(lambda: len(run.fed) > count)

    assert run.samples[-1] == (source.ticks[-1],)
