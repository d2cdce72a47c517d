"""The install page, done as it says: with its files, its commands and the broker's own files."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs import shell
from tests.docs.pages import ROOT, blocks
from tests.servers import InfluxDB, Mosquitto, Port

PAGE = ROOT / "docs" / "install.md"
READY_SECONDS = 45.0


class Machine:
    """A folder that stands for the machines of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: Port() for name in ("8884", "8424", "metrics")}
        self.places = {
            "/opt/meterhouse/bin/": f"{Path(sys.executable).parent}/",
            "broker.example": "localhost",
            "port = 8424": f"port = {self.ports['8424'].number}",
            "[metrics]\n": f"[metrics]\nport = {self.ports['metrics'].number}\n",
        }
        for name in (
            "/etc/meterhouse",
            "/etc/mosquitto",
            "/run/credentials",
            "/var/lib/meterhouse",
        ):
            self.places[name] = f"{folder}{name}"
            Path(self.places[name]).mkdir(parents=True)

    def placed(self, text: str) -> str:
        """Return a text with the page's places put into the folder."""
        for name, place in self.places.items():
            text = text.replace(name, place)
        return text

    def do(self, step: str) -> None:
        """Run the commands of one step of the page."""
        chosen = [
            block
            for block in blocks(PAGE)
            if block.language == "console" and block.words[:2] == ("replay", step)
        ]
        assert chosen, f"the page has no step {step}"
        for block in chosen:
            shell.run(block, self.folder, self.placed(block.text))

    def put(self, source: str, target: str) -> None:
        """Copy a file of the folder to where the page installs it."""
        path = Path(self.placed(target))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((self.folder / source).read_bytes())
        path.chmod(0o600)

    def write_files(self) -> None:
        """Write the files that the page shows."""
        for block in blocks(PAGE):
            name = block.option("file")
            if name is not None:
                Path(self.placed(name)).write_text(self.placed(block.text), encoding="utf-8")

    def release(self) -> None:
        """Give the ports back."""
        for port in self.ports.values():
            port.release()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.release()


def broker_of(machine: Machine) -> Mosquitto:
    """Return a broker with the files of deploy/mosquitto, put where the page puts them."""
    deployed = ROOT / "deploy" / "mosquitto"
    acl = Path(machine.placed("/etc/mosquitto/meterhouse.acl"))
    acl.write_bytes((deployed / "acl").read_bytes())
    acl.chmod(0o600)
    machine.put("meterhouse.passwords", "/etc/mosquitto/meterhouse.passwords")
    for name, placed in (
        ("ca.pem", "nodes-ca.pem"),
        ("crl.pem", "nodes-crl.pem"),
        ("broker/localhost.pem", "broker.pem"),
        ("broker/localhost.key", "broker.key"),
    ):
        machine.put(f"ca/{name}", f"/etc/mosquitto/certs/{placed}")
    conf = machine.placed((deployed / "mosquitto.conf").read_text(encoding="utf-8"))
    conf = conf.replace("listener 8883", "listener {port} 127.0.0.1")
    conf = conf.replace("listener 8884", f"listener {machine.ports['8884'].number} 127.0.0.1")
    return Mosquitto(machine.folder / "mosquitto", conf)


@contextmanager
def running(machine: Machine, program: str, config: str) -> Iterator[Path]:
    """Run a program of ours; yields its log."""
    log = machine.folder / f"{program}.log"
    command = machine.placed(f"/opt/meterhouse/bin/{program}")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "run", "--config", machine.placed(config)], stdout=output, stderr=output
        )
        try:
            yield log
        finally:
            process.terminate()
            process.wait(20)


def test_the_page_leads_to_rows_in_the_database(machine: Machine, influxdb: InfluxDB) -> None:
    machine.do("broker")
    broker = broker_of(machine)
    with broker:
        machine.places["port = 8883"] = f"port = {broker.port}"
        machine.places["https://influx.example:8086"] = influxdb.url
        machine.places['org = "example"'] = f'org = "{influxdb.org}"'
        machine.write_files()
        machine.put("ca/ca.pem", "/etc/meterhouse/ca.pem")
        operator = Path(machine.placed("/etc/meterhouse/influx.operator"))
        operator.write_text(influxdb.token, encoding="utf-8")
        machine.put("collector.password", "/etc/meterhouse/mqtt.password")
        machine.do("database")
        machine.do("collector")
        # As LoadCredential= of the units does.
        secrets = "/run/credentials/meterhouse-collector.service"
        machine.put("collector.password", f"{secrets}/mqtt.password")
        machine.put("etc/meterhouse/influx.token", f"{secrets}/influx.token")
        secrets = "/run/credentials/meterhouse-agent.service"
        machine.put("node-1.password", f"{secrets}/mqtt.password")
        machine.do("agent")
        with (
            running(machine, "meterhouse-collector", "/etc/meterhouse/collector.toml") as collects,
            running(machine, "meterhouse-agent", "/etc/meterhouse/agent.toml") as measures,
        ):
            until(lambda: stored(influxdb) > 0, collects, measures)


def stored(influxdb: InfluxDB) -> int:
    """Return how many rows of node-1 the ledger has."""
    query = 'SELECT row FROM "ledger"."node" WHERE thing = \'node-1\''
    return len(influxdb.influxql("meterhouse", query))


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def until(happens: Callable[[], bool], *logs: Path) -> None:
    """Wait until something is so; fail with the logs if it never is."""
    end = time.monotonic() + READY_SECONDS
    while not happens():
        if time.monotonic() > end:
            pytest.fail(os.linesep.join(map(text_of, logs)))
        time.sleep(0.3)
