"""The command as a user meets it: exit codes, one line for each trouble, and no traceback."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meterhouse_agent.spool import Spool, Standing, spool_path
from tests.agent.links import report
from tests.servers import Mosquitto, Port

PATIENCE_SECONDS = 60.0
COMMAND = (sys.executable, "-m", "meterhouse_agent")


def agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def config(folder: Path, more: str = "", *, transport: str = "") -> Path:
    path = folder / "agent.toml"
    transport = transport or f'[socket]\npath = "{folder}/socket"'
    path.write_text(
        'site = "site-a"\nnode = "sim-000"\ninterval = "1s"\n'
        f'{transport}\n[spool]\ndirectory = "{folder}/spool"\n{more}\n'
        '[[source]]\nkind = "simulated"\n'
    )
    return path


class Running:
    """A command under way."""

    def __init__(self, path: Path) -> None:
        self.log = path.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*COMMAND, "run", "-c", str(path)], stderr=log)

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def test_the_version_and_the_sample_need_no_config() -> None:
    assert agent("--version").returncode == 0
    assert "[[source]]" in agent("sample-config").stdout


def test_a_wrong_config_is_two_and_a_line_for_each_fault(tmp_path: Path) -> None:
    path = config(tmp_path, 'colour = "blue"')
    for command in ("run", "check", "resend"):
        done = agent(command, "-c", path)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [f"{path}: spool.colour: no such key"]
    assert agent("run", "-c", tmp_path / "none.toml").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(number: signal.Signals, tmp_path: Path) -> None:
    running = Running(config(tmp_path))
    running.wait_for("trying again")

    assert running.stop(number) == 0
    assert "Traceback" not in running.text()
    assert running.text().count("trying again") == 1


def test_a_broker_that_comes_late_is_found(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.stop()
    transport = f'[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}'
    running = Running(config(tmp_path, transport=transport))
    running.wait_for("trying again")
    mosquitto.start()
    running.wait_for("connected to")

    assert running.stop(signal.SIGTERM) == 0
    assert len(running.text().splitlines()) == 2


def test_a_port_of_metrics_in_use_is_one_line(tmp_path: Path) -> None:
    port = Port()
    with socket.create_server(("127.0.0.1", port.number)):
        done = agent("run", "-c", config(tmp_path, f"[metrics]\nport = {port.number}"))
    port.release()

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port.number}" in done.stderr


def test_a_spool_that_cannot_be_made_is_told_and_borne(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    path = config(tmp_path)
    running = Running(path)
    running.wait_for("kept in memory")
    running.wait_for("trying again")

    assert running.stop(signal.SIGTERM) == 0
    assert "Traceback" not in running.text()
    assert agent("resend", "-c", path).returncode == 0


def test_a_second_agent_of_a_node_is_turned_away(tmp_path: Path) -> None:
    path = config(tmp_path)
    running = Running(path)
    running.wait_for("trying again")
    done = agent("run", "-c", path)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "another agent" in done.stderr
    assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    again = Running(path)
    again.wait_for("trying again")
    assert again.stop(signal.SIGTERM) == 0


def test_check_says_what_it_found_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    path = config(tmp_path)
    done = agent("check", "-c", path)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)

    path.write_text(path.read_text().replace("sim-000", "sim-999"))
    assert agent("check", "-c", path).returncode == 1


def test_resend_puts_refused_reports_back_and_makes_nothing(tmp_path: Path) -> None:
    path = config(tmp_path)
    done = agent("resend", "-c", path)
    assert (done.returncode, done.stdout) == (0, "sim-000: 0 reports put back in the queue\n")
    assert not (tmp_path / "spool").exists()

    async def refuse() -> None:
        spool = Spool(spool_path(tmp_path / "spool", "sim-000"), 1 << 20)
        await spool.open()
        await spool.commit([report(0), report(5)], Standing(10, []), {})
        await spool.set_aside([(0, "off_grid"), (5, "off_grid")])
        await spool.close()

    asyncio.run(refuse())
    assert agent("resend", "-c", path).stdout == "sim-000: 2 reports put back in the queue\n"


def test_resend_on_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    spool_path(tmp_path / "spool", "sim-000").mkdir(parents=True)
    done = agent("resend", "-c", config(tmp_path))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_truth_is_json_whole_or_for_each_interval(tmp_path: Path) -> None:
    path = config(tmp_path)
    window = ("--from", "1780000000", "--to", "1780000010")
    whole = json.loads(agent("truth", "-c", path, *window).stdout)
    each = agent("truth", "-c", path, *window, "--each").stdout.splitlines()

    assert whole
    assert len([json.loads(line) for line in each]) == 10


def test_only_a_simulation_knows_the_truth(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text().replace('"simulated"', '"host"'))
    done = agent("truth", "-c", path, "--from", "0", "--to", "10")

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_a_node_without_mqtt_and_metrics_imports_neither(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from meterhouse_agent.config import load_config\n"
        "from meterhouse_agent.loop import NodeAgent\n"
        "from meterhouse_agent.telemetry import Metrics, Telemetry\n"
        "from prometheus_client import CollectorRegistry\n"
        "telemetry = Telemetry(Metrics(CollectorRegistry()), 'sim-000')\n"
        "NodeAgent(load_config(Path(sys.argv[1])), 'sim-000', telemetry)\n"
        "print([m for m in ('aiomqtt', 'paho', 'meterhouse_collector') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(config(tmp_path))],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
        env={**os.environ},
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "meterhouse-agent: the following arguments are required: COMMAND; "),
        (("collect",), "meterhouse-agent: COMMAND: found 'collect', allowed: 'sample-config', "),
        (("run",), "meterhouse-agent run: the following arguments are required: -c/--config; "),
        (
            ("run", "-c", "f", "--log-level", "loud"),
            "meterhouse-agent run: --log-level: found 'loud', allowed: 'debug', ",
        ),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    done = agent(*arguments)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(told)
