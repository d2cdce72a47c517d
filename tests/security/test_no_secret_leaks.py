"""Programs whose every secret is known: nothing that they show to anybody has one in it."""

import asyncio
import base64
import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import aiomqtt
import pytest
from pydantic import SecretStr

from meterhouse_collector.settings import Secret
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.init_influx import init_influx
from tests.deploy.brokers import ADDRESS, COLLECTOR, Broker, password_of
from tests.e2e.programs import Program, wait_for_text
from tests.security.http_guarded import PASSWORD, TOKEN, basic, bearer, get, secret_files
from tests.security.sites import NODE, agent, collector, until
from tests.servers import InfluxDB
from tests.stand_ins.nvml import Nvml

VARIABLE: Final = "MQTT_PASSWORD_OF_THE_NODE"
OPERATOR: Final = InfluxDB.token
PATHS: Final = ("/", "/api/live", "/metrics", "/healthz", "/none")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    server = Broker(tmp_path / "broker")
    yield server
    server.close()


def influx_config(database: InfluxDB, folder: Path) -> Mapping[str, object]:
    """Make buckets and tokens; return the section [influx]."""
    token = folder / "collector.token"
    config = InfluxConfig(url=database.url, org=database.org, token=Secret(file=token))
    init = init_influx(
        config,
        SecretStr(database.token),
        collector_token_file=token,
        grafana_token_file=folder / "grafana.token",
    )
    said = "\n".join(asyncio.run(init))
    assert token.read_text().strip() not in said
    return {"url": database.url, "org": database.org, "token": {"file": token}}


def mqtt(broker: Broker, password: Mapping[str, object]) -> Mapping[str, object]:
    tls = {"ca_file": broker.authority.certificate}
    return {"host": ADDRESS, "port": broker.port, "password": password, "tls": tls}


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            found += [child, *children(child)]
    return found


def shown_by_process(pid: int) -> Iterator[bytes]:
    yield Path(f"/proc/{pid}/cmdline").read_bytes()
    yield Path(f"/proc/{pid}/comm").read_bytes()


def shown_by_http(program: Program) -> Iterator[bytes]:
    for path in PATHS:
        for proof in (None, bearer(TOKEN), bearer("wrong"), basic("viewer", "wrong")):
            answer = get(program.metrics_port, path, proof)
            yield answer.body + str(answer.headers).encode()


async def said_to_broker(broker: Broker) -> list[bytes]:
    """Return topics and payloads of what node and collector tell each other."""
    found: list[bytes] = []

    async def listen(user: str, kinds: tuple[str, ...]) -> None:
        client = aiomqtt.Client(
            ADDRESS,
            broker.port,
            username=user,
            password=password_of(user),
            tls_context=broker.tls(),
            identifier=f"listening-{user}",
        )
        wanted = set(kinds)
        async with client:
            for kind in kinds:
                await client.subscribe(f"meterhouse/v1/+/+/+/{kind}")
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                found.append(str(message.topic).encode() + b" " + message.payload)
                wanted.discard(str(message.topic).rpartition("/")[2])
                if not wanted:
                    return

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(COLLECTOR, ("report", "status")))
        tasks.create_task(listen(NODE, ("receipt",)))
    return found


def files(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_bytes()


def rows(database: InfluxDB) -> Iterator[bytes]:
    for policy in ("detail", "ledger", "quarter", "live", "kept", "event", "part"):
        found = database.influxql("meterhouse", f'SELECT * FROM "{policy}"./.*/')  # noqa: S608 - names of ours
        yield repr(found).encode()


def checked(program: Program, command: str) -> bytes:
    """Return what ``check`` prints; whether all is well is not the question."""
    done = subprocess.run(
        [Path(program._command[0]).with_name(command), "check", "-c", program.config],
        env={**os.environ, **program.environment},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_no_secret_is_shown(broker: Broker, influxdb: InfluxDB, tmp_path: Path) -> None:
    http = secret_files(tmp_path)
    (tmp_path / "mqtt.password").write_text(password_of(COLLECTOR), encoding="utf-8")
    influx = influx_config(influxdb, tmp_path)
    driver = Nvml(tmp_path / "nvml", count=1)
    with (
        collector(
            tmp_path / "collector",
            influx=influx,
            mqtt={**mqtt(broker, {"file": tmp_path / "mqtt.password"}), "username": COLLECTOR},
            page=http,
        ) as collects,
        agent(
            tmp_path / "agent",
            environment={VARIABLE: password_of(NODE), **driver.environment()},
            mqtt=mqtt(broker, {"env": VARIABLE}),
            metrics=http,
            source=[{"kind": "host"}, {"kind": "nvml"}],
        ) as measures,
    ):
        seen = [*life(broker, influxdb, collects, measures)]
    secrets = {
        "password of the node": password_of(NODE),
        "password of the collector": password_of(COLLECTOR),
        "token of the collector": (tmp_path / "collector.token").read_text().strip(),
        "token of Grafana": (tmp_path / "grafana.token").read_text().strip(),
        "token of the operator": OPERATOR,
        "token of the page": TOKEN,
        "password of the page": PASSWORD,
        "key of the broker": key_text(broker),
    }
    assert len(seen) > 50
    for name, secret in secrets.items():
        for form in forms(secret):
            assert not [each[:2000] for each in seen if form in each], f"{name} is shown"


def key_text(broker: Broker) -> str:
    return broker.authority.paths("broker", ADDRESS).key.read_text().splitlines()[1]


def forms(secret: str) -> list[bytes]:
    """Return a secret as it is, and as it may stand in JSON or in a header."""
    data = secret.encode()
    alone = base64.b64encode(data)
    with_user = base64.b64encode(b"viewer:" + data)
    return [data, secret.encode("unicode_escape"), alone, with_user]


def life(
    broker: Broker, influxdb: InfluxDB, collects: Program, measures: Program
) -> Iterator[bytes]:
    """Run both through good and bad times; yield all that anybody can see of them."""
    for program in (collects, measures):
        # The most that they ever say.
        program._command[2:2] = ["--log-level", "debug"]
        program.start()
    # Without a broker: errors of the connection.
    wait_for_text(measures, "trying again")
    wait_for_text(collects, "trying again")
    yield checked(measures, "meterhouse-agent")
    yield checked(collects, "meterhouse-collector")
    broker.start()
    until(lambda: stored(influxdb) > 0, "a row", measures, collects)
    yield from asyncio.run(said_to_broker(broker))
    assert children(measures.pid), "the reader of the driver is a child"
    for child in children(measures.pid):
        yield Path(f"/proc/{child}/environ").read_bytes()
    for pid in (measures.pid, collects.pid, *children(measures.pid)):
        yield from shown_by_process(pid)
    yield from shown_by_http(measures)
    yield from shown_by_http(collects)
    yield from rows(influxdb)
    # A token that is not taken any more: errors of the store.
    for each in influxdb.request("GET", "/api/v2/authorizations")["authorizations"]:
        if each["description"] == "meterhouse collector":
            influxdb.request("DELETE", f"/api/v2/authorizations/{each['id']}")
    wait_for_text(collects, "401")
    yield checked(collects, "meterhouse-collector")
    for program in (measures, collects):
        program.stop()
        yield program.text().encode()
    yield from files(measures.folder / "spool")


def stored(influxdb: InfluxDB) -> int:
    with contextlib.suppress(KeyError):
        return len(influxdb.influxql("meterhouse", 'SELECT "row" FROM "ledger"."node"'))
    return 0
