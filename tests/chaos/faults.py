"""What each fault does to a site, and what ends it."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.chaos.schedule import Fault
from tests.chaos.site import PLAYED, ChaosSite
from tests.servers import Server

End = Callable[[], None]
_CATCH_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.0005


def begin(site: ChaosSite, fault: Fault) -> End:
    """Begin a fault; return what ends it."""
    lane, _, place = fault.lane.partition(":")
    return _FAULTS[lane, fault.kind](site, place, fault)


def _kill_agent(site: ChaosSite, name: str, _: Fault) -> End:
    site.agents[name].kill()
    site.died(name)
    return lambda: site.start_again(name)


def _kill_in_commit(site: ChaosSite, name: str, fault: Fault) -> End:
    """Kill an agent as soon as its spool's journal changes: in the middle of a transaction."""
    spool = site.spool_path(PLAYED[name][0])
    journal = spool.with_name(f"{spool.name}-wal")
    before, deadline = _changed(journal), time.monotonic() + _CATCH_SECONDS
    while _changed(journal) == before and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return _kill_agent(site, name, fault)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _kill_collector(site: ChaosSite, _: str, __: Fault) -> End:
    site.collector.kill()
    return site.collector.start


def _kill_in_write(site: ChaosSite, place: str, fault: Fault) -> End:
    """Kill the collector while the database has half of a request, or before it hears an answer."""
    link = site.links["store"]
    link.caught.clear()
    link.catch_write = "answer" if fault.amount else "half"
    link.caught.wait(_CATCH_SECONDS)
    link.catch_write = None
    if fault.amount:
        # Time for the database to write what it has.
        time.sleep(0.05)
    return _kill_collector(site, place, fault)


def _kill_server(server: Server) -> End:
    server.kill()
    return server.start


def _forget(site: ChaosSite, _: str, __: Fault) -> End:
    """Kill the broker; what it had on disk is gone."""
    site.broker.kill()
    (site.broker.folder / "mosquitto.db").unlink(missing_ok=True)
    return site.broker.start


def _stop(pid: int) -> End:
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def _cut(site: ChaosSite, name: str, _: Fault) -> End:
    site.proxy.cut(site.links[name])
    return lambda: None


def _refuse(site: ChaosSite, name: str, _: Fault) -> End:
    link = site.links[name]
    link.refuses = True
    site.proxy.cut(link)

    def end() -> None:
        link.refuses = False

    return end


def _silence(site: ChaosSite, name: str, _: Fault) -> End:
    """Let nothing through without a word to either side, then cut."""
    link = site.links[name]
    link.silent = True

    def end() -> None:
        site.proxy.cut(link)
        link.silent = False

    return end


def _delay(site: ChaosSite, name: str, fault: Fault) -> End:
    link = site.links[name]
    link.delay_seconds = fault.amount

    def end() -> None:
        link.delay_seconds = 0.0

    return end


def _shuffle(site: ChaosSite, name: str, fault: Fault) -> End:
    link = site.links[name]
    link.shuffle = random.Random(f"{fault.lane}/{fault.at_seconds}")

    def end() -> None:
        link.shuffle = None

    return end


def _full(site: ChaosSite, _: str, __: Fault) -> End:
    site.fill_disk()
    return site.free_disk


def _step_agent(site: ChaosSite, _: str, fault: Fault) -> End:
    """Step the clock of one agent, for good: the next step is another fault."""
    site.step("clock", fault.amount)
    return lambda: None


def _step_collector(site: ChaosSite, _: str, fault: Fault) -> End:
    site.step("collector", fault.amount)
    return lambda: site.step("collector", 0)


_FAULTS: Final[Mapping[tuple[str, str], Callable[[ChaosSite, str, Fault], End]]] = {
    ("agent", "kill"): _kill_agent,
    ("agent", "kill_in_commit"): _kill_in_commit,
    ("agent", "stop"): lambda site, name, _: _stop(site.agents[name].pid),
    ("collector", "kill"): _kill_collector,
    ("collector", "kill_in_write"): _kill_in_write,
    ("collector", "stop"): lambda site, _, __: _stop(site.collector.pid),
    ("broker", "kill"): lambda site, _, __: _kill_server(site.broker),
    ("broker", "forget"): _forget,
    ("broker", "stop"): lambda site, _, __: _stop(site.broker.pid),
    ("database", "kill"): lambda site, _, __: _kill_server(site.database),
    ("database", "stop"): lambda site, _, __: _stop(site.database.pid),
    ("database", "away"): lambda site, _, __: _kill_server(site.database),
    ("link", "cut"): _cut,
    ("link", "refuse"): _refuse,
    ("link", "silence"): _silence,
    ("link", "delay"): _delay,
    ("link", "shuffle"): _shuffle,
    ("disk", "full"): _full,
    ("clock", "step"): lambda site, place, fault: (
        _step_agent if place == "agent" else _step_collector
    )(site, place, fault),
}
