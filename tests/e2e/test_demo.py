"""The demo is one command: what it measures is what was so, and it leaves nothing behind."""

import fcntl
import http.client
import json
import math
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS

READY_SECONDS = 60.0
STATES = ("active", "held_idle", "free", "unhealthy", "unknown")
ATTEMPTS = 3
# What its site has a basis for; its JSON file has sums, and quantiles come from buckets.
MEASURED = {
    kpi.name
    for kpi in LIVE_KPIS
    if kpi.needs in (None, "engine", "water meter") and kpi.of != "latency_quantile"
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "meterhouse_collector", "demo", "--port", "0", *arguments]


def temporary(folder: Path) -> dict[str, str]:
    # Short, because the path of a socket must be.
    folder.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder)}


class Running:
    """A demo that runs, and what it printed so far."""

    def __init__(self, process: "subprocess.Popen[str]", out: Path) -> None:
        self.process = process
        self._out = out

    def printed(self) -> str:
        return self._out.read_text()

    def wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + READY_SECONDS
        while (found := re.search(pattern, self.printed(), re.MULTILINE)) is None:
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.05)
        return found[0]

    @property
    def address(self) -> str:
        return self.wait_for(r"http://[\d.]+:\d+/")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(READY_SECONDS)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    out = folder / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
            env=temporary(folder / "t"),
        )
    try:
        yield Running(process, out)
    finally:
        process.kill()
        process.wait()


def api(address: str) -> Any:  # noqa: ANN401 - JSON
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=30)
    try:
        connection.request("GET", "/api/live")
        return json.load(connection.getresponse())
    finally:
        connection.close()


def children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # Others' processes come and go.
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.add(int(stat.parent.name))
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run_with_json(folder: Path) -> tuple[dict[str, Any], str]:
    file = folder / "out.json"
    done = subprocess.run(
        command("--for", "12s", "--json", str(file)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=temporary(folder / "t"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(file.read_text()), done.stdout


@pytest.mark.timeout(330)
def test_what_is_measured_is_what_was_so(tmp_path: Path) -> None:
    for _ in range(ATTEMPTS):
        found, printed = run_with_json(tmp_path)
        if found["sums"]["unknown_seconds"] == 0:
            break
        # A machine too busy to read in time knows less, and says so; that is not this test.
    start, end = found["intervals"]
    assert end > start
    assert (start % 2, end % 2) == (0, 0)
    sums, truth = found["sums"], found["truth"]["sums"]
    assert set(sums) == set(truth) == set(ROLLUP_FIELD_NAMES)
    assert sum(sums[f"{state}_seconds"] for state in STATES) == 32 * (end - start)
    for state in STATES:
        assert sums[f"{state}_seconds"] == truth[f"{state}_seconds"], state
    for name in ROLLUP_FIELD_NAMES:
        assert math.isclose(sums[name], truth[name], rel_tol=1e-9), name
    assert set(found["kpis"]) == set(found["truth"]["kpis"]) == MEASURED
    for name, kpi in found["kpis"].items():
        real = found["truth"]["kpis"][name]
        assert set(kpi) == set(real)
        assert kpi["coverage"] == real["coverage"] == 1.0
        assert kpi["reason"] is None
        assert kpi["unit"] == real["unit"]
        for part in ("value", "numerator", "denominator"):
            assert math.isclose(kpi[part], real[part], rel_tol=1e-9), (name, part)
    lines = printed.splitlines()
    assert lines[0].startswith("live page: http://127.0.0.1:")
    assert lines[1].split()[:2] == ["time", "iPUE"]
    assert all(re.match(r"\d\d:\d\d:\d\d +1\.\d{3} ", line) for line in lines[2:])
    assert len(lines) > 2
    assert list((tmp_path / "t").iterdir()) == []


def test_the_truth_is_not_what_the_collector_saw(tmp_path: Path) -> None:
    """Agents that are held up cost coverage, and the truth does not follow."""
    file = tmp_path / "out.json"
    with running(tmp_path, "--json", str(file)) as demo:
        demo.wait_for(r"^\d\d:\d\d:\d\d +1\.")
        agents = [pid for pid in children(demo.process.pid) if b"agent-nodes" in cmdline(pid)]
        assert agents
        for pid in agents:
            os.kill(pid, signal.SIGSTOP)
        demo.wait_for(r"idle_capacity_ratio: coverage")
        assert demo.end(signal.SIGTERM) == 0
    found = json.loads(file.read_text())
    sums, truth = found["sums"], found["truth"]["sums"]
    assert sums["unknown_seconds"] > 0
    assert truth["unknown_seconds"] == 0
    assert sums["installed_seconds"] == truth["installed_seconds"]
    assert sums["active_seconds"] < truth["active_seconds"]
    assert found["kpis"]["idle_capacity_ratio"]["value"] is None
    assert "is below 95%" in found["kpis"]["idle_capacity_ratio"]["reason"]
    assert found["truth"]["kpis"]["idle_capacity_ratio"]["value"] is not None


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as demo:
        demo.wait_for(r"^\d\d:\d\d:\d\d ")
        agents = children(demo.process.pid)
        assert len(agents) == 3
        live = api(demo.address)
        assert {agent["name"] for agent in live["agents"]["list"]} >= {"facility", "this-machine"}
        assert demo.end(number) == 0
        assert "Traceback" not in demo.printed()
    assert not any(map(lives, agents))
    assert list((tmp_path / "t").iterdir()) == []


def test_a_signal_at_the_start_ends_it_cleanly(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        assert demo.address
        assert demo.end(signal.SIGINT) == 0
        left = children(demo.process.pid)
        assert "Traceback" not in demo.printed()
    assert not left
    assert list((tmp_path / "t").iterdir()) == []


def test_an_agent_that_ends_is_named(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        demo.wait_for(r"^\d\d:\d\d:\d\d ")
        agents = children(demo.process.pid)
        os.kill(next(pid for pid in agents if b"facility" in cmdline(pid)), signal.SIGKILL)
        assert demo.process.wait(READY_SECONDS) == 1
        assert re.search(r"^agent-facility ended with -9: ", demo.printed(), re.MULTILINE)
        assert "Traceback" not in demo.printed()
    assert not any(map(lives, agents))


def test_what_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with running(tmp_path, "--keep", str(kept), "--nodes", "1") as demo:
        demo.wait_for(r"^\d\d:\d\d:\d\d ")
        assert demo.end(signal.SIGINT) == 0
    names = {path.name for path in kept.iterdir()}
    assert {"site.toml", "collector.toml", "meterhouse.sqlite", "agents.log"} <= names
    assert list((tmp_path / "t").iterdir()) == []


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*command(), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=temporary(tmp_path / "t"),
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"page: cannot listen on port {port} of 127.0.0.1: it is in use; "
        "choose another port, or 0 for any that is free\n"
    )
    assert list((tmp_path / "t").iterdir()) == []


def test_a_folder_that_is_not_there_is_said_before_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--json", str(tmp_path / "missing" / "out.json")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("out.json: its folder is not there, or not writable\n")
    assert done.stderr.count("\n") == 1


def test_who_stops_reading_ends_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=temporary(tmp_path / "t"),
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("live page: ")
        process.stdout.close()
        assert process.wait(READY_SECONDS) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
    assert list((tmp_path / "t").iterdir()) == []


def test_on_a_terminal_the_table_is_redrawn_in_place(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        command(), stdin=its, stdout=its, stderr=its, env=temporary(tmp_path / "t")
    )
    os.close(its)
    printed = b""
    deadline = time.monotonic() + READY_SECONDS
    try:
        while printed.count(b"\x1b[J") < 2:
            assert time.monotonic() < deadline, printed
            if select.select([ours], [], [], 1.0)[0]:
                printed += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(READY_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert printed.startswith(b"live page: http://")
    # Up by the heading, the rows so far and the line of reasons.
    assert re.findall(rb"\x1b\[(\d+)A\x1b\[J", printed)[:2] == [b"3", b"4"]
    lines = re.sub(rb"\x1b\[[^A-Z]*[A-Z]", b"", printed).decode().split("\r\n")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--for", "soon"), "a duration is a text like"), (("--nodes", "0"), "from 1 to 64")],
)
def test_a_wrong_option_is_explained(arguments: tuple[str, ...], word: str) -> None:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
