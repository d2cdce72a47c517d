"""A whole agent on a node whose driver hangs: the rest goes on, nothing grows, it ends at once."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from meterhouse_agent import wire
from tests.agent.nvml_source import is_alive, wait_gone
from tests.stand_ins.nvml import Nvml

NODE = "sim-000"
PATIENCE_SECONDS = 60.0
# Within the 30 s that the unit gives it.
STOP_SECONDS = 25.0
MORE_BYTES = 8 << 20
# Python runs this before anything else, in the agent and in whatever it starts.
WATCH = """
import json, os, sys
STARTS = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
def note(event, arguments):
    if event in STARTS:
        with open(os.environ["STARTED"], "a") as file:
            print(json.dumps([event, os.getpid(), repr(arguments)[:300]]), file=file)
sys.addaudithook(note)
"""


class Agent:
    """An agent of a node with GPUs, its host and an engine, and the processes that were started."""

    def __init__(self, folder: Path, driver: Nvml) -> None:
        self._folder = folder
        self.started = folder / "started"
        (folder / "sitecustomize.py").write_text(WATCH)
        config = folder / "agent.toml"
        config.write_text(
            f'site = "site-a"\nnode = "{NODE}"\ninterval = "1s"\n'
            f'[socket]\npath = "{folder}/socket"\n[spool]\ndirectory = "{folder}/spool"\n'
            '[[source]]\nkind = "nvml"\ndeadline = "500ms"\nrestart_after = "600s"\n'
            '[[source]]\nkind = "host"\n[[source]]\nkind = "simulated"\n'
        )
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        more = {"PYTHONPATH": os.pathsep.join(paths), "STARTED": str(self.started)}
        self.log = folder / "agent.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "meterhouse_agent", "run", "-c", str(config)],
                stderr=log,
                env={**os.environ, **driver.environment(), **more},
            )

    def starts(self) -> list[tuple[str, int, str]]:
        """Return what was started, and by which process."""
        lines = self.started.read_text().splitlines() if self.started.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def children(self) -> list[int]:
        """Return the children of the agent, by their numbers."""
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(n) for task in tasks for n in (task / "children").read_text().split()]

    def reports(self) -> list[wire.Report]:
        """Return all reports of the spool."""
        path = self._folder / "spool" / f"{NODE}.spool"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path, timeout=30)) as spool:
            try:
                rows = spool.execute("SELECT body FROM report ORDER BY start_seconds").fetchall()
            except sqlite3.OperationalError:
                return []
        return [wire.decode_report(body) for (body,) in rows]

    def wait(self, good: Callable[[], bool], what: str) -> None:
        """Return when something is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not good():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{what}: {self.log.read_text()}"
            time.sleep(0.05)

    def wait_for_more(self, count: int) -> list[wire.Report]:
        """Return the reports that were made since, once there are so many."""
        before = len(self.reports())
        self.wait(lambda: len(self.reports()) >= before + count, "it reports on")
        return self.reports()[before:]

    def held(self) -> tuple[int, int]:
        """Return the resident bytes and the threads of the agent."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = dict(line.split(":", 1) for line in text.splitlines())
        return int(found["VmRSS"].split()[0]) * 1024, int(found["Threads"])


@contextmanager
def running(folder: Path) -> Iterator[tuple[Agent, Nvml]]:
    driver = Nvml(folder / "nvml", count=2)
    agent = Agent(folder, driver)
    try:
        yield agent, driver
    finally:
        agent.process.kill()
        agent.process.wait()


def hang(driver: Nvml) -> None:
    for gpu in driver.gpus:
        gpu.hang = True
    driver.apply()


def test_a_hung_driver_leaves_the_others_running_and_a_stop_clean(tmp_path: Path) -> None:
    with running(tmp_path) as (agent, driver):
        agent.wait(lambda: len(agent.reports()) > 1, "it reports")
        hang(driver)
        agent.wait(lambda: "nvml unresponsive" in agent.log.read_text(), "the hang is told")
        agent.wait_for_more(2)
        memory, threads = agent.held()
        meanwhile = agent.wait_for_more(6)
        more, still = agent.held()
        (child,) = agent.children()

        # Of the node in each interval: its host, and the source that does not hang.
        assert all(report.host is not None and report.engines for report in meanwhile)
        assert (still, more <= memory + MORE_BYTES) == (threads, True)
        assert agent.log.read_text().count("nvml unresponsive") == 1
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(STOP_SECONDS) == 0
        wait_gone(child)
        assert "Traceback" not in agent.log.read_text()


def test_no_process_is_started_again_and_again(tmp_path: Path) -> None:
    with running(tmp_path) as (agent, _):
        agent.wait(lambda: len(agent.reports()) > 1, "it reports")
        first = agent.starts()
        agent.wait_for_more(6)
        assert is_alive(agent.process.pid)
        assert agent.starts() == first
        # The one reader of the driver, which the agent itself started.
        popen = [each for each in first if each[0] == "subprocess.Popen"]
        assert [pid for _, pid, _ in popen] == [agent.process.pid]
        assert "meterhouse_agent.readers.nvml" in popen[0][2]
        assert {pid for _, pid, _ in first} == {agent.process.pid}
