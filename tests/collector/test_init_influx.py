"""Buckets and tokens, made once and corrected after, on a real server."""

import json
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from pydantic import SecretStr

from meterhouse_collector.rows import POLICY_DAYS, Point
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.init_influx import SHARD_DAYS, init_influx
from tests.collector.stores import QUARTER, influx_config, init, opened_influx, packed, point
from tests.servers import InfluxDB

DAY = 86_400


def bucket_of(server: InfluxDB, name: str) -> dict[str, object]:
    query = urlencode({"name": name})
    [found] = server.request("GET", f"/api/v2/buckets?{query}")["buckets"]
    assert isinstance(found, dict)
    return found


def tokens_of(server: InfluxDB, config: InfluxConfig) -> list[str]:
    found = server.request("GET", "/api/v2/authorizations")["authorizations"]
    return [one["token"] for one in found if one["description"].startswith(config.database)]


async def status(server: InfluxDB, token: str, method: str, path: str, body: str = "") -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Token {token}"}) as session,
        session.request(method, server.url + path, data=body) as answer,
    ):
        text = await answer.text()
        # InfluxQL answers 200 to what it does not show.
        return HTTPStatus.FORBIDDEN if "not found" in text else answer.status


def write_path(server: InfluxDB, bucket: str) -> str:
    return "/api/v2/write?" + urlencode({"org": server.org, "bucket": bucket, "precision": "s"})


async def test_a_second_run_changes_nothing(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    tokens = tokens_of(influxdb_shared, config)
    ids = {
        policy: bucket_of(influxdb_shared, f"{config.database}/{policy}") for policy in POLICY_DAYS
    }
    for policy, found in ids.items():
        assert found["retentionRules"] == [
            {
                "type": "expire",
                "everySeconds": POLICY_DAYS[policy] * DAY,
                "shardGroupDurationSeconds": SHARD_DAYS[policy] * DAY,
            }
        ]
    files = {name: (tmp_path / name).read_text() for name in ("collector.token", "grafana.token")}
    lines = await init(influxdb_shared, config, tmp_path)
    assert len(lines) == len(POLICY_DAYS) + 2
    assert f"bucket {config.database}/ledger: as it should be, kept 35 d" in lines
    assert all("as it should be" in line for line in lines)
    assert tokens_of(influxdb_shared, config) == tokens
    for name, text in files.items():
        assert (tmp_path / name).read_text() == text
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert text.strip() in tokens
        assert not any(text.strip() in line for line in lines)
    for policy, found in ids.items():
        assert bucket_of(influxdb_shared, f"{config.database}/{policy}") == found


async def test_a_changed_retention_is_corrected(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    name = f"{config.database}/ledger"
    found = bucket_of(influxdb_shared, name)
    rule = {"type": "expire", "everySeconds": 90 * DAY, "shardGroupDurationSeconds": 7 * DAY}
    change = json.dumps({"retentionRules": [rule]})
    influxdb_shared.request("PATCH", f"/api/v2/buckets/{found['id']}", change)
    lines = await init(influxdb_shared, config, tmp_path)
    assert f"bucket {name}: corrected, kept 35 d (was 90 d), shards of 1 d (were of 7 d)" in lines
    assert len([line for line in lines if "as it should be" in line]) == len(POLICY_DAYS) + 1
    assert bucket_of(influxdb_shared, name)["retentionRules"] == found["retentionRules"]


async def test_a_bucket_kept_for_ever_is_corrected(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    found = bucket_of(influxdb_shared, f"{config.database}/kept")
    influxdb_shared.request("DELETE", f"/api/v2/buckets/{found['id']}")
    influxdb_shared.make_bucket(f"{config.database}/kept")
    lines = await init(influxdb_shared, config, tmp_path)
    assert any("kept 3650 d (was for ever)" in line for line in lines)
    # It is another bucket of the same name, so the tokens of old do not hold for it.
    assert len([line for line in lines if "made, in" in line]) == 2
    async with opened_influx(config) as store:
        assert await store.write([point(policy="kept")]) == []


async def test_among_many_buckets_its_own_are_found(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    for number in range(101):
        influxdb_shared.make_bucket(f"{tmp_path.name}-{number}")
    config = await influx_config(influxdb_shared, tmp_path)
    lines = await init(influxdb_shared, config, tmp_path)
    assert all("as it should be" in line for line in lines)


async def test_the_tokens_are_good_for_their_buckets_alone(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    other = f"{tmp_path.name}/other"
    influxdb_shared.make_bucket(other)
    influxdb_shared.write(other, "m x=1 1700000000")
    collector, grafana = (
        (tmp_path / name).read_text().strip() for name in ("collector.token", "grafana.token")
    )
    async with opened_influx(config) as store:
        rows = [packed(policy=policy) for policy in POLICY_DAYS]
        assert await store.write(rows) == []
        window = {"start_seconds": QUARTER, "end_seconds": QUARTER + 1}
        for row in rows:
            assert await store.packed(row.policy, "node", **window, thing=None) == [row]
    org_id = influxdb_shared.request("GET", "/api/v2/orgs")["orgs"][0]["id"]
    wish = json.dumps({"orgID": org_id, "name": "mine"})
    everything = [{"action": "read", "resource": {"type": "buckets", "orgID": org_id}}]
    more = json.dumps({"orgID": org_id, "permissions": everything})
    refused = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    line = f"m x=1 {QUARTER}"
    elsewhere = "/query?" + urlencode({"db": tmp_path.name, "q": "SELECT x FROM other.m"})  # noqa: S608
    own = "/query?" + urlencode({"db": config.database, "q": 'SELECT "row" FROM ledger.node'})  # noqa: S608
    own_bucket = write_path(influxdb_shared, f"{config.database}/ledger")
    found = bucket_of(influxdb_shared, f"{config.database}/ledger")["id"]
    for token in (collector, grafana):
        assert await status(influxdb_shared, token, "GET", own) == HTTPStatus.OK
        for method, path, body in (
            ("POST", write_path(influxdb_shared, other), line),
            ("GET", elsewhere, ""),
            ("POST", "/api/v2/buckets", wish),
            ("POST", "/api/v2/authorizations", more),
        ):
            assert await status(influxdb_shared, token, method, path, body) in refused, path
    gone = await status(influxdb_shared, grafana, "DELETE", f"/api/v2/buckets/{found}")
    assert gone in refused
    assert (
        await status(influxdb_shared, collector, "POST", own_bucket, line) == HTTPStatus.NO_CONTENT
    )
    assert await status(influxdb_shared, grafana, "POST", own_bucket, line) in refused


async def test_a_file_without_a_valid_token_gets_a_new_one(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    file = tmp_path / "collector.token"
    for text in ("stale", influxdb_shared.token, (tmp_path / "grafana.token").read_text()):
        file.write_text(text)
        lines = await init(influxdb_shared, config, tmp_path)
        assert any("collector: made" in line and "was not valid" in line for line in lines)
        async with opened_influx(config) as store:
            assert await store.write([packed()]) == []
    # The operator's own token was in the file: it is not the collector's to revoke.
    assert influxdb_shared.request("GET", "/api/v2/buckets")


async def test_a_token_that_allows_too_little_is_replaced_and_revoked(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    old = (tmp_path / "collector.token").read_text().strip()
    found = bucket_of(influxdb_shared, f"{config.database}/event")
    influxdb_shared.request("DELETE", f"/api/v2/buckets/{found['id']}")
    lines = await init(influxdb_shared, config, tmp_path)
    assert f"token {config.database} collector: revoked the one that was in {tmp_path}" in "".join(
        lines
    )
    assert old not in tokens_of(influxdb_shared, config)
    assert len(tokens_of(influxdb_shared, config)) == 2
    async with opened_influx(config) as store:
        event = Point("event", "event", (("kind", "xid"),), {"code": 79}, QUARTER)
        assert await store.write([event]) == []


async def test_a_token_file_open_to_others_is_closed(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    (tmp_path / "grafana.token").chmod(0o644)
    lines = await init(influxdb_shared, config, tmp_path)
    assert any("readable by its owner alone" in line for line in lines)
    assert (tmp_path / "grafana.token").stat().st_mode & 0o777 == 0o600


async def test_refusals_say_what_to_do(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)

    async def attempt(config: InfluxConfig, token: str, folder: Path) -> None:
        await init_influx(
            config,
            SecretStr(token),
            collector_token_file=folder / "collector.token",
            grafana_token_file=folder / "grafana.token",
        )

    right = influxdb_shared.token
    with pytest.raises(StoreUnavailableError, match=r"401 .*token of an operator") as caught:
        await attempt(config, "wrong-secret", tmp_path)
    assert "wrong-secret" not in str(caught.value)
    with pytest.raises(StoreUnavailableError, match="nobody"):
        await attempt(config.model_copy(update={"org": "nobody"}), right, tmp_path)
    with pytest.raises(StoreUnavailableError, match="server runs"):
        await attempt(config.model_copy(update={"url": "http://127.0.0.1:1"}), right, tmp_path)
    with pytest.raises(StoreUnavailableError, match="ca_file"):
        await attempt(config.model_copy(update={"ca_file": tmp_path / "none"}), right, tmp_path)
    count = len(tokens_of(influxdb_shared, config))
    with pytest.raises(StoreUnavailableError, match=r"writing token file .*No such file"):
        await attempt(config, right, tmp_path / "absent")
    # The token that could not be kept does not stay behind.
    assert len(tokens_of(influxdb_shared, config)) == count
    less = (tmp_path / "collector.token").read_text()
    with pytest.raises(StoreUnavailableError, match="operator"):
        await attempt(config, less.strip(), tmp_path / "absent")
