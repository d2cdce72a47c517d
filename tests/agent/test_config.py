"""The agent's config: the sample is valid, and every fault is one line that says where and what."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from meterhouse_agent.__main__ import main, sample_config
from meterhouse_agent.config import ConfigError, MetricsConfig, load_config, validate
from meterhouse_agent.sources import SOURCES, load

MINIMAL: dict[str, Any] = {
    "site": "site-a",
    "node": "node-1",
    "mqtt": {"host": "broker.example"},
    "spool": {"directory": "spool"},
    "source": [{"kind": "host"}],
}


def _uncommented(text: str) -> dict[str, Any]:
    """Read a sample with every commented-out line in force, ``##`` lines being prose.

    [socket] goes: it stands in place of [mqtt].
    """
    lines = [re.sub(r"^# ?", "", line) for line in text.splitlines() if not line.startswith("##")]
    table = tomllib.loads("\n".join(lines))
    del table["socket"]
    return table


def _faults(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(table, "agent.toml")
    return caught.value.faults


def test_the_sample_is_a_valid_config() -> None:
    config = validate(tomllib.loads(sample_config()), "sample")

    assert [source.kind for source in config.source] == ["nvml", "host"]


def test_the_sample_shows_every_kind_of_source_and_every_key(
    tmp_path: Path,
) -> None:
    table = _uncommented(sample_config())
    secret = tmp_path / "password"
    secret.write_text("x")
    table["mqtt"]["password"] = {"file": str(secret)}
    table["metrics"] |= {key: {"file": str(secret)} for key in ("token", "password")}

    config = validate(table, "sample")

    assert set(table["metrics"]) == set(MetricsConfig.model_fields)

    assert {entry["kind"] for entry in table["source"]} == set(SOURCES)
    for entry, source in zip(table["source"], config.source, strict=True):
        assert set(entry) == set(type(source).model_fields)
    fleet = next(s for s in table["source"] if s["kind"] == "simulated")["fleet"]
    simulated = next(source for source in config.source if source.kind == "simulated")
    assert set(fleet) == set(type(simulated.fleet).model_fields)  # type: ignore[attr-defined]
    assert set(table) == set(type(config).model_fields) - {"socket"}


def test_a_commented_out_line_of_the_sample_is_the_default() -> None:
    bare = validate(tomllib.loads(sample_config()), "sample")
    table = _uncommented(sample_config())
    for key in ("token", "username", "password", "certificate_file", "key_file"):
        del table["metrics"][key]

    full = validate(
        {**table, "mqtt": {"host": "broker.example", "tls": {}}, "play": [], "node": bare.node},
        "sample",
    )

    assert full.model_dump(exclude={"source"}) == bare.model_dump(exclude={"source"})
    for kind in ("nvml", "host"):
        one, other = (next(s for s in c.source if s.kind == kind) for c in (bare, full))
        assert one == other


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sites": "x"}, "agent.toml: sites: no such key"),
        ({"site": "My Site"}, "agent.toml: site: found 'My Site': a name has 1 to 63"),
        ({"interval": "7s"}, "agent.toml: interval: found '7s': an interval is one of 1s, 2s"),
        ({"interval": 5}, 'agent.toml: interval: found 5: a duration is a text like "5s"'),
        ({"mqtt": {}}, "agent.toml: mqtt.host: is missing"),
        ({"mqtt": {"host": "b", "port": 0}}, "agent.toml: mqtt.port: found 0: "),
        (
            {"mqtt": {"host": "b", "others": ["c:70000"]}},
            "agent.toml: mqtt: 'c:70000' is no server: it is a text like",
        ),
        (
            {"mqtt": {"host": "::1", "others": ["b"], "password": {"env": "PATH"}}},
            "agent.toml: mqtt: give [mqtt.tls]: without it the password can be overheard",
        ),
        ({"mqtt": {"host": "b", "tls": {"key_file": "k"}}}, "agent.toml: mqtt.tls: "),
        ({"mqtt": None}, "agent.toml: (whole file): give either [mqtt] or [socket]"),
        ({"spool": {"directory": "s", "max_bytes": 1}}, "agent.toml: spool.max_bytes: found 1: "),
        ({"source": []}, "agent.toml: source: give at least one [[source]]"),
        ({"source": [{"kind": "gpu"}]}, "agent.toml: source.1.kind: found 'gpu': allowed are host"),
        (
            {"source": [{"kind": "host", "sample_every": "0s"}]},
            "agent.toml: source.1.sample_every: found '0s': ",
        ),
        ({"source": ["host"]}, "agent.toml: source.1.kind: found 'host': allowed are host"),
        ({"source": [{"kind": "nvml", "x": 1}]}, "agent.toml: source.1.x: no such key"),
        (
            {"mqtt": {"host": "localhost", "password": {"env": "METERHOUSE_NO_SUCH"}}},
            "agent.toml: mqtt.password: environment variable METERHOUSE_NO_SUCH is not set",
        ),
        (
            {"mqtt": {"host": "b", "password": {"env": "PATH"}}},
            "agent.toml: mqtt: give [mqtt.tls]: without it the password can be overheard",
        ),
        ({"mqtt": {"host": "b", "password": "hunter2"}}, "agent.toml: mqtt.password: Input "),
        ({"metrics": {"token": "hunter2"}}, "agent.toml: metrics.token: Input should be a "),
        (
            {"metrics": {"token": {"env": "METERHOUSE_NO_SUCH"}}},
            "agent.toml: metrics.token: environment variable METERHOUSE_NO_SUCH is not set",
        ),
        (
            {"metrics": {"host": "192.0.2.1"}},
            "agent.toml: metrics: 192.0.2.1 is not the loopback: give token, or username and ",
        ),
        (
            {"metrics": {"host": "::", "token": {"env": "PATH"}}},
            "agent.toml: metrics: :: is not the loopback: give certificate_file and key_file",
        ),
        (
            {"metrics": {"username": "viewer"}},
            "agent.toml: metrics: username and password go together",
        ),
        ({"metrics": {"key_file": "k"}}, "agent.toml: metrics: certificate_file and key_file go "),
    ],
)
def test_each_fault_is_one_line(change: dict[str, Any], fault: str) -> None:
    table = {key: value for key, value in {**MINIMAL, **change}.items() if value is not None}

    (found,) = _faults(table)

    assert found.startswith(fault)
    assert "\n" not in found
    assert "hunter2" not in found


def test_all_faults_are_said_at_once() -> None:
    table = {**MINIMAL, "site": "?", "interval": "9s", "source": [{"kind": "x"}, {"kind": "host"}]}

    assert len(_faults(table)) == 3


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    config = validate(
        {**MINIMAL, "mqtt": {"host": "localhost", "password": {"file": str(secret)}}}, "agent.toml"
    )

    assert config.mqtt is not None
    assert config.mqtt.password is not None
    assert config.mqtt.password.read().get_secret_value() == "hunter2"
    assert "hunter2" not in f"{config!r} {config.mqtt.password.read()!r}"


@pytest.mark.parametrize("text", [None, "site = ", "\xff"])
def test_what_is_no_config_file_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "agent.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))

    assert main(["run", "-c", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: ")
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_every_source_is_what_the_table_promises(kind: str) -> None:
    """The compliance test of a source: a config of its own kind, a factory, docs and tests."""
    module = load(kind)

    assert {"kind", "sample_every", "deadline"} <= set(module.Config.model_fields)
    assert callable(module.create)
    assert f'kind = "{kind}"' in sample_config()
    stem = kind.removeprefix("prometheus_")
    assert list(Path(__file__).parent.glob(f"test_{stem}*.py"))


def test_the_command_prints_its_sample_and_helps() -> None:
    command = [sys.executable, "-Im", "meterhouse_agent"]
    shown = subprocess.run([*command, "sample-config"], capture_output=True, check=True)
    helped = subprocess.run([*command, "--help"], capture_output=True, check=True, text=True)

    assert shown.stdout.decode() == sample_config()
    for name in ("run", "check", "sample-config", "resend", "truth"):
        assert name in helped.stdout
