"""What an agent costs: eight devices read each second through NVML, reported every five seconds."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import usage
from tests.bench.consumers import AGENT_NODE, Stretch
from tests.bench.fleet import DEVICES, SITE
from tests.servers import InfluxDB, Mosquitto, Port, binary
from tests.stand_ins.nvml import Nvml

SAMPLE_EVERY: Final = "1s"
INTERVAL: Final = "5s"
_WARM_UP_SECONDS: Final = 8.0
_STOP_SECONDS: Final = 10.0


class AgentError(Exception):
    """The agent ended while it was measured; the text has the end of what it printed."""


class AgentMeasured(NamedTuple):
    """What an agent and its children cost over so many seconds."""

    seconds: float
    cpu_seconds: float
    pss_bytes: int
    processes: int
    # Reports that were stored, or pages that were read.
    answers: int


def measure_agent(
    folder: Path, broker: Mosquitto, influx: InfluxDB, seconds: float
) -> AgentMeasured:
    """Run an agent on the C stand-in of the driver's library, beside a collector that runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(_config(folder, broker.port))
    command = [sys.executable, "-m", "meterhouse_agent", "run", "-c", str(folder / "agent.toml")]
    began = int(time.time())

    def reports_stored() -> int:
        _sleep(process, seconds, folder)
        return _reports(influx, Stretch(began, int(time.time())))

    with _running(command, folder) as process:
        return _measured(process, folder, reports_stored)


def measure_nvitop(folder: Path, seconds: float) -> AgentMeasured:
    """Run nvitop-exporter on the same stand-in, read each second as Prometheus would read it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = Port()
    command = [binary("nvitop-exporter"), "--port", str(port.number), "--interval", "1"]

    def pages_read() -> int:
        pages, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            _sleep(process, 1.0, folder)
            address = f"http://127.0.0.1:{port.number}/metrics"
            with urllib.request.urlopen(address, timeout=10) as answer:
                pages += b"gpu_" in answer.read()
        return pages

    try:
        with _running(command, folder) as process:
            return _measured(process, folder, pages_read)
    finally:
        port.release()


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program on a stand-in of the driver's library."""
    with (folder / "agent.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **_driver(folder / "nvml").environment()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        _end(process)


def _measured(
    process: subprocess.Popen[bytes], folder: Path, answers: Callable[[], int]
) -> AgentMeasured:
    """Return what a program and its children cost after its warm-up, until it is counted."""
    _sleep(process, _WARM_UP_SECONDS, folder)
    start, before = time.monotonic(), usage.of_tree(process.pid)
    counted = answers()
    end, after = time.monotonic(), usage.of_tree(process.pid)
    return AgentMeasured(
        seconds=end - start,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        pss_bytes=after.pss_bytes,
        processes=len(usage.tree(process.pid)),
        answers=counted,
    )


def _driver(folder: Path) -> Nvml:
    driver = Nvml(folder, count=DEVICES)
    for index, gpu in enumerate(driver.gpus):
        gpu.utilization_percent, gpu.memory_used_bytes = 90 + index, 60 * 2**30
        gpu.sm_activity_percent, gpu.tensor_activity_percent = 70.0 + index, 30.0 + index
        gpu.temperature_celsius, gpu.memory_temperature_celsius = 60 + index, 70 + index
        gpu.processes = [(1000 + index, 60 * 2**30)]
        driver.set_power(index, 500.0 + index)
    return driver


def _config(folder: Path, port: int) -> str:
    return (
        f'site = "{SITE}"\nnode = "{AGENT_NODE}"\ninterval = "{INTERVAL}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n'
        f'[spool]\ndirectory = "{folder}"\n'
        f'[[source]]\nkind = "nvml"\nsample_every = "{SAMPLE_EVERY}"\n'
    )


def _sleep(process: subprocess.Popen[bytes], seconds: float, folder: Path) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise AgentError((folder / "agent.log").read_text(errors="replace")[-4000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reports(influx: InfluxDB, stretch: Stretch) -> int:
    query = (
        f"SELECT count(row) AS n FROM ledger.node WHERE reader = '{AGENT_NODE}' "  # noqa: S608 - no user's text
        f"AND time >= {stretch.start_seconds}s AND time <= {stretch.end_seconds}s"
    )
    rows = influx.influxql("meterhouse", query)
    return int(rows[0]["n"]) if rows else 0
