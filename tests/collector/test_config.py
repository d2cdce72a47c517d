"""The collector's config: the sample is valid, and every fault is one line."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from meterhouse_collector.__main__ import main
from meterhouse_collector.config import CollectorConfig, ConfigError, sample, validate

MINIMAL: dict[str, Any] = {"site": "site.toml", "mqtt": {"host": "broker.example"}}


def _uncommented(text: str) -> dict[str, Any]:
    """Read a sample with every commented-out line in force, ``##`` lines being prose."""
    lines = [re.sub(r"^# ?", "", line) for line in text.splitlines() if not line.startswith("##")]
    return tomllib.loads("\n".join(lines))


def _faults(table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(table, "collector.toml")
    return caught.value.faults


def test_the_sample_is_a_valid_config() -> None:
    config = validate(tomllib.loads(sample()), "sample", secrets=False)

    assert config.influx is not None
    assert config.mqtt is not None


def test_the_sample_shows_every_key() -> None:
    table = _uncommented(sample())

    assert set(table) == set(CollectorConfig.model_fields)
    for key in ("mqtt", "influx", "sqlite", "page", "socket", "alerts"):
        section = CollectorConfig.model_fields[key].annotation
        (model,) = [part for part in getattr(section, "__args__", ()) if part is not type(None)]
        assert set(table[key]) == set(model.model_fields)


def test_a_commented_out_line_of_the_sample_is_the_default() -> None:
    bare = validate(tomllib.loads(sample()), "sample", secrets=False)
    table = _uncommented(sample())
    del table["socket"], table["sqlite"], table["mqtt"]["password"], table["influx"]["ca_file"]
    table["mqtt"]["tls"] = {}
    del table["influx"]["compress"], table["mqtt"]["others"], table["mqtt"]["client_id"]
    del table["part"], table["slots"]
    del table["alerts"]
    for key in ("token", "username", "password", "certificate_file", "key_file"):
        del table["page"][key]

    assert validate(table, "sample", secrets=False) == bare


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sites": "x"}, "collector.toml: sites: no such key"),
        ({"site": None}, "collector.toml: site: is missing"),
        ({"interval": "7s"}, "collector.toml: interval: found '7s': an interval is one of"),
        ({"detail_every": "7s"}, "collector.toml: (whole file): detail_every must be a multiple"),
        ({"mqtt": None}, "collector.toml: (whole file): give either [mqtt] or [socket]"),
        ({"slots": "00-31"}, 'collector.toml: (whole file): part and slots are of role = "intake"'),
        (
            {"role": "intake", "slots": "00-31"},
            'collector.toml: (whole file): role = "intake" needs part, a name of its own',
        ),
        (
            {"role": "intake", "part": "a", "slots": "00-64"},
            "collector.toml: slots: found '00-64': slots are a text like",
        ),
        ({"role": "intake", "part": "A b", "slots": "00"}, "collector.toml: part: found 'A b': "),
        (
            {"role": "steward", "influx": None},
            'collector.toml: (whole file): role = "steward" needs [mqtt] and [influx]',
        ),
        (
            {"mqtt": {"host": "b", "others": ["c:d"]}},
            "collector.toml: mqtt: 'c:d' is no server: it is a text like",
        ),
        (
            {"mqtt": {"host": "localhost", "others": ["b"], "password": {"env": "PATH"}}},
            "collector.toml: mqtt: give [mqtt.tls]: without it the password can be overheard",
        ),
        ({"page": {"port": 70000}}, "collector.toml: page.port: found 70000: "),
        ({"page": {"token": "hunter2"}}, "collector.toml: page.token: Input should be a valid "),
        (
            {"page": {"token": {"env": "NO_SUCH_TOKEN"}}},
            "collector.toml: page.token: environment variable NO_SUCH_TOKEN is not set",
        ),
        (
            {"page": {"host": "192.0.2.1"}},
            "collector.toml: page: 192.0.2.1 is not the loopback: give token, or username and",
        ),
        (
            {"page": {"host": "10.0.0.1", "token": {"env": "PATH"}}},
            "collector.toml: page: 10.0.0.1 is not the loopback: give certificate_file and key_fi",
        ),
        (
            {"page": {"username": "a:b", "password": {"env": "PATH"}}},
            "collector.toml: page: username: a colon would end it",
        ),
        (
            {"mqtt": {"host": "b", "password": {"env": "PATH"}}},
            "collector.toml: mqtt: give [mqtt.tls]: without it the password can be overheard",
        ),
        (
            {"influx": {"url": "http://u:hunter2@h:1", "org": "o", "token": {"env": "PATH"}}},
            "collector.toml: influx.url: must hold no user, password",
        ),
        (
            {"influx": {"url": "http://h:1", "org": "o", "token": "hunter2"}},
            "collector.toml: influx.token: ",
        ),
        (
            {"influx": {"url": "http://h:1", "org": "o", "token": {"env": "NO_SUCH_TOKEN"}}},
            "collector.toml: influx.token: environment variable NO_SUCH_TOKEN is not set",
        ),
    ],
)
def test_each_fault_is_one_line_and_shows_no_secret(change: dict[str, Any], fault: str) -> None:
    table = {key: value for key, value in {**MINIMAL, **change}.items() if value is not None}

    (found,) = _faults(table)

    assert found.startswith(fault)
    assert "\n" not in found
    assert "hunter2" not in found


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_config_is_exit_code_2_without_a_traceback(tmp_path: Path, command: str) -> None:
    path = tmp_path / "collector.toml"
    path.write_text('site = "site.toml"\nmqtt = { host = "h", prot = 1 }\ninterval = "7s"\n')
    done = subprocess.run(
        [sys.executable, "-Im", "meterhouse_collector", command, "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{path}: interval: found '7s': an interval is one of 1s, 2s, 5s, 10s, 15s, 30s, 60s",
        f"{path}: mqtt.prot: no such key",
    ]


def test_a_wrong_site_model_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site, path = tmp_path / "site.toml", tmp_path / "collector.toml"
    site.write_text('name = "a"\ncurrency = "EUR"\ntime_zone = "Mars/Olympus"\n')
    path.write_text(f'site = "{site}"\n[mqtt]\nhost = "h"\n')

    assert main(["check", "-c", str(path)]) == 2
    (fault,) = capsys.readouterr().err.splitlines()
    assert fault.startswith(f"{site}: time_zone: ")


@pytest.mark.parametrize("arguments", [["sample-config"], ["sample-config", "--site"]])
def test_the_samples_are_printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert tomllib.loads(capsys.readouterr().out)


def role(**more: object) -> CollectorConfig:
    influx = {"url": "http://h:1", "org": "o", "token": {"env": "PATH"}}
    table = {"site": "s", "mqtt": {"host": "b", "port": 1883}, "influx": influx}
    return validate(table | more, "collector.toml")


def test_each_role_has_its_slots_and_a_name_of_its_own_to_the_broker() -> None:
    all_, steward = role(), role(role="steward")
    intake = role(role="intake", part="a", slots="00-03")
    assert len(all_.taken_slots) == 64
    assert steward.taken_slots == set()
    assert intake.taken_slots == {"00", "01", "02", "03"}
    assert all_.client_id == "meterhouse-collector"
    assert steward.client_id == "meterhouse-collector-steward"
    assert intake.client_id == "meterhouse-collector-a"
    assert role(mqtt={"host": "b", "client_id": "c"}).client_id == "c"


def test_more_servers_of_a_cluster_have_the_first_ones_port_unless_they_say() -> None:
    others = ["c", "d:8884", "[2001:db8::1]", "[::1]:1"]
    mqtt = role(mqtt={"host": "b", "port": 1883, "others": others}).mqtt
    assert mqtt is not None
    assert mqtt.servers == (
        ("b", 1883),
        ("c", 1883),
        ("d", 8884),
        ("2001:db8::1", 1883),
        ("::1", 1),
    )
    assert [each.servers for each in mqtt.each_server()] == [(each,) for each in mqtt.servers]
