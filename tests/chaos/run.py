"""One run: the site starts, its faults begin and end on time, it comes to rest and is judged."""

import asyncio
import heapq
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from meterhouse_collector.quarters.steward import Steward
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.telemetry import Telemetry
from tests.chaos.faults import begin
from tests.chaos.quarters import read_kept
from tests.chaos.schedule import COUNTED, Fault, Schedule
from tests.chaos.site import FLEET, HELD_SECONDS, ChaosSite
from tests.chaos.verdict import Verdict, judge_quarters, judge_rows, judge_sums
from tests.e2e.ledger import Ledger, read_ledger
from tests.e2e.node_faults import Disk
from tests.e2e.pipeline import NO_TRACE_OF
from tests.e2e.programs import ProgramError
from tests.servers import ServerError

# One quarter ends early in a run, so that what is late changes what was summed.
_QUARTER_ENDS_AFTER: Final = 12.0
# After the last rows are held no longer, the steward waits for a minute; marks ripen meanwhile.
_DUE_SECONDS: Final = 120
_WAITING: Final = 10
_MEMORY_TIMES: Final = 1.5
_MEMORY_MORE_BYTES: Final = 48 << 20
_FOR_EVER: Final = 2**33
Say = Callable[[str], None]


def run(schedule: Schedule, folder: Path, say: Say) -> Verdict:
    """Play a schedule in an empty folder, and judge what is left."""
    verdict = Verdict()
    with Disk(folder / "disk") as disk:
        site = ChaosSite(folder, disk, quarter_ends_after=_QUARTER_ENDS_AFTER)
        # Outside the block of the site, which adds all logs to an error, is who tells of it.
        with site:
            try:
                _play(site, schedule, verdict, say)
            except (ProgramError, ServerError, TimeoutError) as error:
                verdict.wrong.append(str(error).partition("\n")[0])
                say(str(error))
    return verdict


def _play(site: ChaosSite, schedule: Schedule, verdict: Verdict, say: Say) -> None:
    site.open_links()
    site.start_all()
    site.wait_for_reports()
    memory = {program.name: memory_bytes(program.pid) for program in site.programs}
    say("all nodes report")
    inject(site, schedule, verdict)
    say(f"{verdict.faults} faults are over")
    site.step("clock", 0)
    end = site.settle()
    say("all reports have receipts")
    at_rest(site, memory, verdict)
    for program in site.programs:
        program.stop()
    asyncio.run(_judge(site, end, verdict, say))
    for program in site.programs:
        verdict.wrong += [f"{program.name} logged {t}" for t in NO_TRACE_OF if t in program.text()]


def inject(site: ChaosSite, schedule: Schedule, verdict: Verdict) -> None:
    """Begin and end each fault when it is time; count those that count."""
    begun = time.monotonic()
    # What ends comes before what begins at the same time.
    waiting: list[tuple[float, int, int, Fault, Callable[[], None] | None]] = []
    for number, fault in enumerate(schedule.faults):
        heapq.heappush(waiting, (fault.at_seconds, 1, number, fault, None))
    while waiting or time.monotonic() - begun < schedule.seconds:
        site.look()
        now = time.monotonic() - begun
        if not waiting or waiting[0][0] > now:
            time.sleep(0.02)
            continue
        _, _, number, fault, end = heapq.heappop(waiting)
        if end is not None:
            end()
            continue
        ending = begin(site, fault)
        verdict.faults += fault.kind in COUNTED
        # By the schedule, however late it began: its lane's next fault comes after it.
        heapq.heappush(waiting, (fault.ends_seconds, 0, number, fault, ending))


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProgramError(f"process {pid} has no memory")


def at_rest(site: ChaosSite, before: dict[str, int], verdict: Verdict) -> None:
    """Note where memory or a spool has not come back to what it was before."""
    for program in site.programs:
        found, least = memory_bytes(program.pid), before[program.name]
        verdict.figures[f"mib_{program.name}"] = round(found / 2**20)
        if found > least * _MEMORY_TIMES + _MEMORY_MORE_BYTES:
            verdict.wrong.append(f"{program.name} holds {found} bytes, {least} at the start")
    for node in site.nodes:
        waiting = len(site.spooled(node))
        if waiting > _WAITING:
            verdict.wrong.append(f"{waiting} reports wait in the spool of {node}")


async def _judge(site: ChaosSite, end: int, verdict: Verdict, say: Say) -> None:
    store = InfluxStore(site.influx)
    try:
        ledger = await read_ledger(store, site.begun, _FOR_EVER)
        settled = await read_ledger(store, site.begun, end)
        judge_rows(verdict, FLEET, settled, site.windows, end, site.first_reported)
        judge_sums(verdict, FLEET, settled, site.windows.doubtful, end)
        _write_down(site.folder / "ledger.txt", ledger)
        say("the ledger is compared")
        quarters = _quarters(ledger)
        index = SiteIndex(load_site(site.folder / "site.toml"))
        await _sum_quarters(store, index, quarters[-1])
        say("all quarters are summed")
        kept = await read_kept(store, index, quarters)
        judge_quarters(verdict, FLEET, ledger, kept, site.windows.doubtful)
    finally:
        await store.close()


def _write_down(path: Path, ledger: Ledger) -> None:
    """Leave what a failed run is understood by: the starts of rows, and all spans."""
    starts: dict[str, list[int]] = {}
    for key in (*ledger.nodes, *ledger.meters, *ledger.engines):
        starts.setdefault(key.thing, []).append(key.start_seconds)
    lines = [f"{thing} {sorted(found)}" for thing, found in sorted(starts.items())]
    lines += sorted(f"{s.thing} {s.device or ''} {s}" for s in ledger.spans)
    path.write_text("\n".join([*lines, ""]))


def _quarters(ledger: Ledger) -> list[int]:
    keys = (*ledger.nodes, *ledger.meters, *ledger.engines)
    return sorted({key.start_seconds // QUARTER * QUARTER for key in keys})


async def _sum_quarters(store: InfluxStore, index: SiteIndex, last_quarter: int) -> None:
    """Let a steward, such as a collector that starts much later has, end the work of this one."""
    due = float(last_quarter + QUARTER + HELD_SECONDS + _DUE_SECONDS)
    steward = Steward(
        store,
        index,
        Telemetry(CollectorRegistry()),
        held_seconds=HELD_SECONDS,
        clock=lambda: due,
        rest=0.0,
    )
    while await steward.step():
        pass
