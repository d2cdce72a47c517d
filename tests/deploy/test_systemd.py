"""The units are ones that systemd takes, start what there is, and say why they hold back."""

import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from importlib import resources
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.brokers import DEPLOY
from tests.servers import binary

SYSTEMD: Final = DEPLOY / "systemd"
PROGRAMS: Final = ("meterhouse-agent", "meterhouse-collector")
# systemd's own scale is from 0 to 10, and the option's from 0 to 100.
EXPOSURE_MAX: Final = 20


def directives(path: Path) -> list[tuple[str, str]]:
    """Return the directives of a unit in their order; systemd takes some of them twice."""
    found = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines()]
    return [(name, value) for name, sign, value in found if sign and name.isalnum()]


def one(path: Path, name: str) -> str:
    values = [value for key, value in directives(path) if key == name]
    assert len(values) == 1
    return values[0]


def unit(program: str) -> Path:
    return SYSTEMD / f"{program}.service"


def installed(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [binary("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_systemd_takes_the_unit_as_it_is(tmp_path: Path, program: str) -> None:
    text = unit(program).read_text(encoding="utf-8")
    changed = text.replace(f"/opt/meterhouse/bin/{program}", str(installed(program)))
    assert changed != text
    copy = tmp_path / unit(program).name
    copy.write_text(changed, encoding="utf-8")
    done = analyze("verify", "--man=no", "--recursive-errors=no", str(copy))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


DROP_INS: Final = sorted(SYSTEMD.glob("meterhouse-*.service.d/*.conf"))


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_systemd_takes_each_drop_in(tmp_path: Path, drop_in: Path) -> None:
    program = drop_in.parent.name.removesuffix(".service.d")
    text = unit(program).read_text(encoding="utf-8")
    copy = tmp_path / unit(program).name
    copy.write_text(
        text.replace(f"/opt/meterhouse/bin/{program}", str(installed(program))), encoding="utf-8"
    )
    placed = tmp_path / drop_in.parent.name / drop_in.name
    placed.parent.mkdir()
    for extra, said in (("", ""), ("Nonsense=1\n", "Nonsense")):
        placed.write_text(drop_in.read_text(encoding="utf-8") + extra, encoding="utf-8")
        done = analyze("verify", "--man=no", "--recursive-errors=no", str(copy))
        printed = done.stdout + done.stderr
        # The second time shows that it was read at all.
        assert (said in printed) if said else (done.returncode, printed) == (0, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_unit_leaves_little_open(program: str) -> None:
    threshold = f"--threshold={EXPOSURE_MAX}"
    done = analyze("security", "--offline=true", "--no-pager", threshold, str(unit(program)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_unit_starts_a_command_that_there_is(tmp_path: Path, program: str) -> None:
    command = shlex.split(one(unit(program), "ExecStart"))
    assert Path(command[0]).name == program
    *options, config = command[1:]
    assert Path(config).parent == Path("/etc/meterhouse")
    absent = tmp_path / "absent.toml"
    done = subprocess.run(
        [installed(program), *options, absent], capture_output=True, text=True, check=False
    )
    # It took the options and missed its config, which is what the unit does not try again.
    assert str(absent) in done.stderr
    assert "--help" not in done.stderr
    assert done.returncode == int(one(unit(program), "RestartPreventExitStatus"))


@pytest.mark.parametrize("path", sorted(SYSTEMD.rglob("*.*")), ids=lambda path: path.name)
def test_every_directive_of_a_service_has_its_reason(path: Path) -> None:
    if path.is_dir():
        return
    service = path.read_text(encoding="utf-8").split("[Service]\n")[1].split("\n[")[0]
    blocks = [block for block in re.split(r"\n\s*\n", service.strip()) if block]
    # What is started, and how, needs no reason.
    reasoned = [block for block in blocks if not block.startswith("Type=")]
    assert reasoned
    assert all(block.startswith("#") for block in reasoned)


def test_the_agent_sees_its_gpus_and_keeps_its_spool() -> None:
    found = ConfigParser(strict=False, interpolation=None)
    # Names of directives are told apart by their case.
    found.optionxform = str  # type: ignore[assignment,method-assign] # as its documentation says
    found.read(unit("meterhouse-agent"), encoding="utf-8")
    service = found["Service"]
    assert service["DeviceAllow"] == "char-nvidia* rw"
    assert service["PrivateDevices"] == "no"
    assert "ProcSubset" not in service
    assert int(service["Nice"]) > 0
    assert {"CPUQuota", "MemoryMax", "TasksMax"} <= set(service)
    text = resources.files("meterhouse_agent").joinpath("agent.sample.toml").read_text("utf-8")
    sample = tomllib.loads(text)
    assert sample["spool"]["directory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_broker_may_hold_a_connection_of_every_node() -> None:
    limit = one(SYSTEMD / "mosquitto.service.d/meterhouse.conf", "LimitNOFILE")
    assert int(limit) > 2 * 12_500
