"""The command `demo`: everything started, shown, ended and swept away."""

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from meterhouse_collector.app import Collector
from meterhouse_collector.commands.books import UsageError
from meterhouse_collector.config import load_config
from meterhouse_collector.demo import yesterday
from meterhouse_collector.demo.children import Children
from meterhouse_collector.demo.outcome import Stretch, collected, write_outcome
from meterhouse_collector.demo.scenario import LEAST_SECONDS, SECONDS, Teller
from meterhouse_collector.demo.site import (
    INTERVAL_SECONDS,
    NODES_MAX,
    POOLS,
    Files,
    Plan,
    write_files,
)
from meterhouse_collector.demo.table import Table
from meterhouse_collector.demo.truth import prices_of, read_truth
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.running import make_store
from meterhouse_collector.settings import parse_duration

_FAILED: Final = 1
_LOOK_SECONDS: Final = 0.2
_SOCKET_SECONDS: Final = 15.0
_FIRST_LOOKS: Final = 150
# Longer than late reports wait until their interval is rolled up again.
_SETTLE_LOOKS: Final = 50
_INTERVALS_MAX: Final = 600
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.add_argument(
        "--for", dest="seconds", type=_duration, metavar="20s", help="end after so long"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="at the end, write what was measured and was so"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of the page")
    parser.add_argument("--port", type=_port, default=8424, help="port of the page, 0 for any")
    parser.add_argument("--nodes", type=_nodes, default=4, help="how many simulated nodes")
    parser.add_argument(
        "--scenario",
        nargs="?",
        type=_scenario,
        const=SECONDS,
        metavar="2m",
        help="let something happen: a spent budget, failed accelerators, an idle pool",
    )
    parser.add_argument(
        "--alertmanager", metavar="URL", help="tell an Alertmanager of the alerts, too"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep configs, database and logs in a folder"
    )
    parser.set_defaults(do=demo, log_level="warning")


def _duration(text: str) -> float:
    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}: {error}") from None


def _scenario(text: str) -> float:
    seconds = _duration(text)
    if seconds < LEAST_SECONDS:
        raise argparse.ArgumentTypeError(f"found {text!r}: at least {LEAST_SECONDS:g}s")
    return seconds


def _port(text: str) -> int:
    return _number(text, 0, 65_535)


def _nodes(text: str) -> int:
    return _number(text, 1, NODES_MAX)


def _number(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"found {text!r}: from {low} to {high}")
    return int(text)


def demo(options: argparse.Namespace) -> int:
    """Run the demo; return the exit code."""
    if options.scenario is not None and (options.json is not None or options.nodes < len(POOLS)):
        raise UsageError([f"--scenario: without --json, and with at least {len(POOLS)} --nodes"])
    if options.json is not None and not os.access(options.json.absolute().parent, os.W_OK):
        raise OSError(f"{options.json}: its folder is not there, or not writable")
    with _folders(options.keep) as (folder, sockets):
        logging.basicConfig(
            filename=folder / "collector.log",
            level="INFO",
            format="%(asctime)s %(levelname)s %(message)s",
            force=True,
        )
        plan = Plan(
            folder=folder,
            socket=sockets / "s",
            nodes=options.nodes,
            host=options.host,
            port=options.port,
            now_seconds=time.time(),
            scenario_seconds=options.scenario,
            alertmanager=options.alertmanager,
        )
        running = _Demo(plan, write_files(plan), folder / "agents.log")
        try:
            return uvloop.run(running.run(options.seconds, options.json))
        except asyncio.CancelledError:
            # Asked a second time, while the file was still to be written.
            return _FAILED
        except BrokenPipeError:
            # Whoever read the table has read enough; Python flushes once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@contextlib.contextmanager
def _folders(keep: Path | None) -> Iterator[tuple[Path, Path]]:
    """Make a folder for everything and one for the socket; what is not to be kept goes."""
    sockets = Path(tempfile.mkdtemp(prefix="meterhouse-"))
    try:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        yield (sockets if keep is None else keep.resolve()), sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


class _Demo:
    """One run of the demo."""

    def __init__(self, plan: Plan, files: Files, log: Path) -> None:
        self._plan = plan
        self._files = files
        self._socket = plan.socket
        self._config = load_config(files.collector)
        self._collector = Collector(self._config)
        self._children = Children(log)
        self._table = Table()
        self._begun: int | None = None

    async def run(self, seconds: float | None, path: Path | None) -> int:
        """Run until stopped or for so long; return the exit code."""
        stop = _stop_at_signals()
        live, page = self._collector.live, self._collector.page
        if page is None:
            raise AssertionError("BUG: the demo's config has a page")
        await page.start()
        self._table.say(f"live page: {page.address}  (Ctrl-C ends the demo)")
        now = time.time()
        live.count_from(now - now % INTERVAL_SECONDS)
        stretch = None
        if self._files.past:
            await yesterday.store(self._files.past, make_store(self._config))
        collecting = asyncio.create_task(self._collector.run(), name="collector")
        try:
            await self._until(stop, seconds, collecting)
            if path is not None:
                stretch = await self._settled(stop)
        finally:
            await self._children.stop()
            collecting.cancel()
            await asyncio.wait([collecting])
        if path is None:
            return 0
        if stretch is None:
            raise OSError("no interval was measured whole: give --for more time")
        await self._write(path, stretch)
        return 0

    async def _until(
        self, stop: asyncio.Event, seconds: float | None, collecting: "asyncio.Task[None]"
    ) -> None:
        """Show what comes until a signal, the end of the time, or a failure."""
        tasks = [
            asyncio.create_task(stop.wait(), name="stop"),
            asyncio.create_task(self._agents(), name="agents"),
            asyncio.create_task(self._show(), name="table"),
            asyncio.create_task(self._tell(), name="scenario"),
        ]
        try:
            done, _ = await asyncio.wait(
                [*tasks, collecting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _agents(self) -> None:
        async with asyncio.timeout(_SOCKET_SECONDS):
            # An agent that finds nobody waits a while before it tries again.
            while not self._socket.exists():  # noqa: ASYNC110 - no event tells of a file
                await asyncio.sleep(0.02)
        await self._children.start(self._files.agents)
        await self._children.watch()

    async def _show(self) -> None:
        """Print a row for each interval, from the first that was measured whole."""
        live = self._collector.live
        shown = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._has_begun():
                continue
            snapshot, intervals = live.snapshot(), live.intervals()
            if snapshot is not None and snapshot.end_seconds > shown:
                shown = snapshot.end_seconds
                self._table.row(snapshot, intervals[-1][1])

    async def _tell(self) -> None:
        """Say what the scenario does, as it comes; without one there is nothing to say."""
        if self._plan.scenario is None:
            await asyncio.Event().wait()
            return
        teller = Teller(self._plan.scenario, self._collector.alerts.book, self._table.note)
        while True:
            teller.look(time.time())
            await asyncio.sleep(_LOOK_SECONDS)

    def _has_begun(self) -> bool:
        """Tell whether an interval was measured whole; what was before the first counts nowhere."""
        live = self._collector.live
        if self._begun is None:
            whole = (start for start, sums in live.intervals() if _whole(sums))
            self._begun = next(whole, None)
            if self._begun is not None:
                live.count_from(self._begun)
        return self._begun is not None

    async def _settled(self, stop: asyncio.Event) -> Stretch | None:
        """Return the whole intervals so far, when late reports had their time."""
        live = self._collector.live
        for _ in range(_FIRST_LOOKS):
            if self._has_begun() or stop.is_set():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        last = live.newest()
        if not self._has_begun() or self._begun is None or last is None:
            return None
        first = max(self._begun, last - (_INTERVALS_MAX - 1) * INTERVAL_SECONDS)
        for _ in range(_SETTLE_LOOKS):
            seen = [sums for start, sums in live.intervals() if first <= start <= last]
            if all(map(_whole, seen)):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return Stretch(first, last + INTERVAL_SECONDS)

    async def _write(self, path: Path, stretch: Stretch) -> None:
        model = self._collector.index.model
        truth = await read_truth(self._files.simulation, *stretch, prices_of(model))
        sums = await collected(self._config, stretch)
        write_outcome(path, stretch, sums, truth, self._collector.live.window())


def _stop_at_signals() -> asyncio.Event:
    """Return what is set by the first signal; a second one cancels the task that asked here."""
    stop, here = asyncio.Event(), asyncio.current_task()

    def asked() -> None:
        if stop.is_set() and here is not None:
            here.cancel()
        stop.set()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked)
    return stop


def _whole(sums: Sums) -> bool:
    """Tell whether all of an interval was measured, and nothing of it filled in."""
    return (
        sums["unknown_seconds"] == 0
        and sums["unmetered_seconds"] == 0
        and sums["pue_joint_seconds"] == sums["interval_seconds"]
        and sums["facility_joules"] == sums["facility_joint_joules"]
        and sums["it_joules"] == sums["it_joint_joules"]
        and sums["engine_computed_covered_seconds"] == sums["engine_installed_seconds"]
    )
