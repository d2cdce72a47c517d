"""The check: each part of a config is tried, and what is missing is said in a line."""

import subprocess
from pathlib import Path

from meterhouse_collector.check import check
from meterhouse_collector.config import CollectorConfig, validate
from tests.collector.collecting import SITE
from tests.servers import Mosquitto, Port, binary

TARIFF = "[[tariff]]\nper_kwh = 0.36\nvalid_from = 2020-01-01\n"


def config(folder: Path, site: str = SITE, **tables: object) -> CollectorConfig:
    (folder / "site.toml").write_text(site)
    table = {
        "site": str(folder / "site.toml"),
        "sqlite": {"path": str(folder / "rows.sqlite")},
        **tables,
    }
    return validate(table, "collector.toml")


async def test_all_is_well(tmp_path: Path, mosquitto: Mosquitto) -> None:
    broker = {"host": "127.0.0.1", "port": mosquitto.port}
    lines, good = await check(config(tmp_path, SITE + TARIFF, mqtt=broker))
    assert lines == [
        "site    ok        site-a: 4 accelerators on 2 nodes, 1 pools, 1 engines, 1 meters",
        "store   ok        SQLite takes and gives rows",
        f"broker  ok        127.0.0.1:{mosquitto.port} lets us in",
    ]
    assert good


async def test_what_is_missing_is_said_and_is_no_failure(tmp_path: Path) -> None:
    bare = SITE.replace('role = "boundary"', 'role = "it"\ncategory = 1')
    lines, good = await check(config(tmp_path, bare, socket={"path": str(tmp_path / "c.sock")}))
    assert [line.split("  ")[0] for line in lines] == ["site", "site", "site", "store", "socket"]
    assert "PUE will have no value" in lines[1]
    assert "energy will have no cost" in lines[2]
    assert good


async def test_a_broker_that_is_not_there_a_store_and_a_socket_without_a_folder_fail(
    tmp_path: Path,
) -> None:
    port, nowhere = Port(), tmp_path / "nowhere"
    try:
        broker = {"host": "127.0.0.1", "port": port.number}
        store = {"path": str(nowhere / "rows.sqlite")}
        lines, good = await check(config(tmp_path, mqtt=broker, sqlite=store))
        assert not good
        failed = [line for line in lines if "failed" in line]
        assert [line.split(" ")[0] for line in failed] == ["store", "broker"]
        assert f"127.0.0.1:{port.number}" in failed[1]
        lines, good = await check(config(tmp_path, socket={"path": str(nowhere / "c.sock")}))
        assert not good
        assert lines[-1].startswith("socket  failed")
    finally:
        port.release()


async def test_a_refused_login_fails_and_names_no_secret(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "passwords").touch(0o600)
    command = [binary("mosquitto_passwd"), "-b", str(folder / "passwords"), "collector", "right"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: ASYNC221 - before any server
    (tmp_path / "password").write_text("hunter2")
    conf = "listener {port} 127.0.0.1\npassword_file {folder}/passwords\npersistence false\n"
    with Mosquitto(folder, conf) as server:
        broker = {
            "host": "127.0.0.1",
            "port": server.port,
            "username": "collector",
            "password": {"file": str(tmp_path / "password")},
        }
        lines, good = await check(config(tmp_path, mqtt=broker))
        assert not good
        assert "not authorised" in lines[-1] or "user name or password" in lines[-1]
        assert "hunter2" not in "".join(lines)
        (tmp_path / "password").write_text("right")
        lines, good = await check(config(tmp_path, mqtt=broker))
        assert good


async def test_a_token_that_can_be_overheard_is_told_of(tmp_path: Path) -> None:
    port = Port()
    try:
        for scheme, host, told in (
            ("http", "0.0.0.0", True),  # noqa: S104 - to connect to, and no loopback by name
            ("https", "0.0.0.0", False),  # noqa: S104 - the same
            ("http", "127.0.0.1", False),
        ):
            url = f"{scheme}://{host}:{port.number}"
            influx = {"url": url, "org": "o", "token": {"env": "PATH"}}
            socket = {"path": str(tmp_path / "c.sock")}
            table = {"site": str(tmp_path / "site.toml"), "influx": influx, "socket": socket}
            (tmp_path / "site.toml").write_text(SITE)
            lines, _ = await check(validate(table, "collector.toml"))
            assert ("store   missing   https: " in "\n".join(lines)) == told
    finally:
        port.release()
