"""The servers that the other tests stand on do start, die and come back."""

from collections.abc import Callable
from pathlib import Path

import aiomqtt
import pytest

from tests.servers import InfluxDB, Mosquitto, Port, Server, ServerError, binary


async def exchange(server: Mosquitto, payload: bytes) -> object:
    async with aiomqtt.Client("127.0.0.1", server.port, timeout=10) as client:
        await client.subscribe("a/b", qos=1)
        await client.publish("a/b", payload, qos=1, retain=True)
        return (await anext(aiter(client.messages))).payload


async def test_a_killed_broker_comes_back_on_its_port(mosquitto: Mosquitto) -> None:
    port = mosquitto.port
    assert await exchange(mosquitto, b"before") == b"before"
    mosquitto.kill()
    with pytest.raises(aiomqtt.MqttError):
        await exchange(mosquitto, b"between")
    mosquitto.start()
    assert mosquitto.port == port
    assert await exchange(mosquitto, b"after") == b"after"


async def test_a_broker_takes_the_configuration_it_is_given(tmp_path: Path) -> None:
    conf = (
        "listener {port} 127.0.0.1\nallow_anonymous true\n"
        "persistence true\npersistence_location {folder}/\n"
    )
    with Mosquitto(tmp_path, conf) as server:
        await exchange(server, b"kept")
        server.restart()
        async with aiomqtt.Client("127.0.0.1", server.port, timeout=10) as client:
            await client.subscribe("a/b")
            message = await anext(aiter(client.messages))
    assert message.retain
    assert message.payload == b"kept"


@pytest.mark.parametrize("end", [Server.kill, Server.stop])
def test_a_database_keeps_its_port_and_rows(
    influxdb: InfluxDB, end: Callable[[Server], None]
) -> None:
    url = influxdb.url
    query = "SELECT x FROM m WHERE \"t\" = 'a'"
    influxdb.write(influxdb.bucket, "m,t=a x=1.5 1700000000\nm,t=b x=2 1700000005")
    end(influxdb)
    with pytest.raises(OSError, match="refused"):
        influxdb.influxql(influxdb.bucket, query)
    influxdb.start()
    assert influxdb.url == url
    assert influxdb.influxql(influxdb.bucket, query) == [{"time": 1700000000, "x": 1.5}]


def test_a_shared_database_gives_tests_buckets_of_their_own(influxdb_shared: InfluxDB) -> None:
    influxdb_shared.make_bucket("test_servers/kept")
    lines = "\n".join(f"m,t={t} x={x} {x}" for t in "ab" for x in range(10_001))
    influxdb_shared.write("test_servers/kept", lines)
    rows = influxdb_shared.influxql("test_servers", "SELECT x FROM kept.m GROUP BY t")
    assert len(rows) == 20_002
    assert rows[-1] == {"t": "b", "time": 10_000, "x": 10_000}
    assert influxdb_shared.influxql("test_servers", "SELECT x FROM kept.absent") == []


def test_a_refused_request_says_why(influxdb_shared: InfluxDB) -> None:
    with pytest.raises(ServerError, match="unable to parse"):
        influxdb_shared.write(influxdb_shared.bucket, "m x=NaN")
    with pytest.raises(ServerError, match="failed to parse query"):
        influxdb_shared.influxql(influxdb_shared.bucket, "SELECT")
    with pytest.raises(ServerError, match="database not found"):
        influxdb_shared.influxql("absent", "SELECT x FROM m")


def test_a_server_that_cannot_start_shows_what_it_printed(tmp_path: Path) -> None:
    server = Mosquitto(tmp_path, "no_such_word 1\n")
    with pytest.raises(ServerError, match="no_such_word"), server:
        pytest.fail("it started")


def test_a_missing_program_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("METERHOUSE_CACHE", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="run make tools"):
        binary("such-program")
    built = tmp_path / "bin" / "such-program"
    built.parent.mkdir()
    built.touch(0o755)
    assert binary("such-program") == str(built)


def test_ports_are_not_given_twice() -> None:
    ports = [Port() for _ in range(50)]
    try:
        assert len({port.number for port in ports}) == len(ports)
    finally:
        for port in ports:
            port.release()
