"""A real InfluxDB over HTTPS: its certificate is verified, and the token opens its buckets only."""

import http.client
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from meterhouse_collector.enroll.folder import Folder
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.settings import Secret
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.store.init_influx import init_influx
from tests.deploy.brokers import ADDRESS, made_authority
from tests.servers import InfluxDB

QUARTER = int(datetime.now(UTC).timestamp()) // 900 * 900


class TlsInfluxDB(InfluxDB):
    """An InfluxDB that speaks HTTPS alone, with a certificate for one address."""

    def __init__(self, folder: Path, authority: Folder) -> None:
        super().__init__(folder)
        self.authority = authority
        self.paths = authority.paths("broker", ADDRESS)
        authority.enroll("broker", ADDRESS, renew=False, now=datetime.now(UTC), days=1)

    @property
    def url(self) -> str:
        """The address of its HTTPS interface."""
        return f"https://{ADDRESS}:{self.port}"

    def _arguments(self) -> list[str]:
        tls = ["--tls-cert", str(self.paths.certificate), "--tls-key", str(self.paths.key)]
        return [*super()._arguments(), *tls]

    def _connection(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.authority.certificate)
        return http.client.HTTPSConnection(ADDRESS, self.port, timeout=60, context=context)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsInfluxDB]:
    folder = tmp_path_factory.mktemp("influxdb")
    with TlsInfluxDB(folder / "data", made_authority(folder / "ca")) as server:
        yield server


@pytest.fixture
async def config(database: TlsInfluxDB, tmp_path: Path) -> InfluxConfig:
    """Return a config whose buckets and tokens were made by the documented command."""
    found = InfluxConfig(
        url=database.url,
        org=database.org,
        token=Secret(file=tmp_path / "collector.token"),
        database=tmp_path.name,
        ca_file=database.authority.certificate,
    )
    await init_influx(
        found,
        SecretStr(database.token),
        collector_token_file=tmp_path / "collector.token",
        grafana_token_file=tmp_path / "grafana.token",
    )
    return found


@asynccontextmanager
async def opened(config: InfluxConfig) -> AsyncIterator[InfluxStore]:
    store = InfluxStore(config)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def test_rows_are_written_and_read_over_https(config: InfluxConfig) -> None:
    row = PackedRow("ledger", "node", "site-1", "node-a", "node-a", QUARTER, "{}")
    async with opened(config) as store:
        assert await store.write([row]) == []
        found = await store.packed(
            "ledger", "node", start_seconds=QUARTER, end_seconds=QUARTER + 900
        )
    assert found == [row]


async def refusal(config: InfluxConfig) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        async with opened(config):
            pytest.fail("it was opened")
    return str(caught.value)


async def test_another_authority_is_refused(config: InfluxConfig, tmp_path: Path) -> None:
    other = made_authority(tmp_path / "other").certificate
    found = await refusal(config.model_copy(update={"ca_file": other}))
    assert "certificate verify failed" in found
    assert "\n" not in found


async def test_the_systems_authorities_do_not_know_it(config: InfluxConfig) -> None:
    found = await refusal(config.model_copy(update={"ca_file": None}))
    assert "certificate verify failed" in found


async def test_another_host_name_is_refused(config: InfluxConfig, database: TlsInfluxDB) -> None:
    url = f"https://localhost:{database.port}"
    found = await refusal(config.model_copy(update={"url": url}))
    assert "certificate is not valid for 'localhost'" in found
    assert "\n" not in found


async def test_plain_http_is_not_answered(config: InfluxConfig, database: TlsInfluxDB) -> None:
    url = f"http://{ADDRESS}:{database.port}"
    assert "400" in await refusal(config.model_copy(update={"url": url}))


async def test_no_refusal_shows_the_token(config: InfluxConfig, tmp_path: Path) -> None:
    (tmp_path / "collector.token").write_text("marked-secret", encoding="utf-8")
    found = await refusal(config)
    assert re.search(r"401 .*init-influx makes one", found)
    assert "marked-secret" not in found


def answered(database: TlsInfluxDB, token: str, method: str, path: str, body: str = "") -> int:
    connection = database._connection()
    try:
        headers = {"Authorization": f"Token {token}"}
        connection.request(method, path, body.encode(), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def write_to(database: TlsInfluxDB, bucket: str) -> str:
    to = urlencode({"org": database.org, "bucket": bucket, "precision": "s"})
    return f"/api/v2/write?{to}"


def flux(database: TlsInfluxDB, token: str, bucket: str) -> int:
    """Return what reading a bucket is answered."""
    query = f'from(bucket: "{bucket}") |> range(start: 0) |> limit(n: 1)'
    body = json.dumps({"query": query, "type": "flux"})
    return answered(database, token, "POST", f"/api/v2/query?org={database.org}", body)


def test_the_collectors_token_can_do_no_more(
    database: TlsInfluxDB, config: InfluxConfig, tmp_path: Path
) -> None:
    token = (tmp_path / "collector.token").read_text(encoding="utf-8").strip()
    other = f"{tmp_path.name}-other"
    database.make_bucket(other)
    line = f"m x=1 {QUARTER}"
    own = write_to(database, f"{config.database}/ledger")
    assert answered(database, token, "POST", own, line) == HTTPStatus.NO_CONTENT
    refused = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    org = database.request("GET", "/api/v2/orgs")["orgs"][0]["id"]
    database.write(other, line)
    assert flux(database, token, f"{config.database}/ledger") == HTTPStatus.OK
    assert flux(database, token, other) in refused
    everything = {"action": "write", "resource": {"type": "buckets", "orgID": org}}
    for method, path, body in (
        ("POST", write_to(database, other), line),
        ("POST", write_to(database, database.bucket), line),
        ("POST", "/api/v2/buckets", f'{{"orgID":"{org}","name":"more"}}'),
        ("POST", "/api/v2/users", '{"name":"more"}'),
        ("PATCH", f"/api/v2/orgs/{org}", '{"name":"more"}'),
        (
            "POST",
            "/api/v2/authorizations",
            json.dumps({"orgID": org, "permissions": [everything]}),
        ),
    ):
        assert answered(database, token, method, path, body) in refused, path
    shown = database.request("GET", "/api/v2/authorizations")["authorizations"]
    (granted,) = [each for each in shown if each["description"] == f"{config.database} collector"]
    assert {grant["resource"]["type"] for grant in granted["permissions"]} == {"buckets"}
    assert {grant["action"] for grant in granted["permissions"]} == {"read", "write"}
