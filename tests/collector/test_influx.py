"""InfluxDB's store loses nothing, whatever the server or what stands before it does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web

from meterhouse_collector.settings import Secret
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from tests.collector.stores import (
    QUARTER,
    detail,
    influx_config,
    init,
    ledger,
    opened_influx,
    packed,
    point,
)
from tests.servers import InfluxDB

KEPT = {"Content-Encoding", "Content-Type"}


class Relay:
    """A proxy before a real InfluxDB, which may refuse as proxies and busy servers do."""

    def __init__(self, server: InfluxDB) -> None:
        self._server = server
        self.bodies: list[bytes] = []
        self.encodings: list[str] = []
        self.largest = 10**9
        self.damaged: dict[bytes, bytes] = {}
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.answer is not None:
            return await self.answer(request)
        body = await request.read()
        for good, bad in self.damaged.items():
            body = body.replace(good, bad)
        self.encodings.append(request.headers.get("Content-Encoding", ""))
        self.bodies.append(body)
        if len(body) > self.largest:
            return web.Response(status=413, text="<html>too large</html>")
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"{self._server.url}{request.rel_url}",
                data=body,
                headers={k: v for k, v in request.headers.items() if k != "Content-Length"},
            ) as answer,
        ):
            headers = {name: answer.headers[name] for name in KEPT & set(answer.headers)}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)


@pytest.fixture
async def relay(influxdb_shared: InfluxDB) -> AsyncIterator[tuple[Relay, str]]:
    proxy = Relay(influxdb_shared)
    # The body as it was sent: compressed or not.
    app = web.Application(client_max_size=2**30, handler_args={"auto_decompress": False})
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield proxy, f"http://{host}:{port}"
    await runner.cleanup()


async def through(
    relay: tuple[Relay, str], server: InfluxDB, folder: Path, **settings: object
) -> InfluxStore:
    config = await influx_config(server, folder)
    changed = config.model_dump() | {"url": relay[1], "timeout": "10s"} | settings
    return InfluxStore(InfluxConfig.model_validate(changed))


async def test_a_request_too_large_for_a_proxy_is_cut(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    store = await through(relay, influxdb_shared, tmp_path)
    relay[0].largest = 20_000
    rows = [packed(f"node-{n}") for n in range(2000)]
    rows[77] = packed(row="x" * 30_000)
    rejections = await store.write(rows)
    assert [one.index for one in rejections] == [77]
    assert "413" in rejections[0].reason
    assert len(await ledger(store)) == 1999
    await store.close()


async def test_of_a_request_that_the_server_cannot_parse_only_the_bad_lines_are_lost(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    """Then it writes nothing of the request, and answers 400: the bad ones are found by halving."""
    store = await through(relay, influxdb_shared, tmp_path)
    # On its way a line is damaged, which this program would not write.
    relay[0].damaged = {b"thing=node-77 row=": b"thing=node-77 row", b"thing=node-901 row=": b"= "}
    rows = [packed(f"node-{n}") for n in range(1000)]
    rejections = await store.write(rows)
    assert [one.index for one in rejections] == [77, 901]
    assert all("unable to parse" in one.reason and not one.too_old for one in rejections)
    assert {row.thing for row in await ledger(store)} == {
        row.thing for n, row in enumerate(rows) if n not in {77, 901}
    }
    assert len(relay[0].bodies) < 50
    await store.close()


async def test_requests_are_bounded_in_lines_and_bytes(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    store = await through(relay, influxdb_shared, tmp_path)
    await store.write([packed(f"node-{n}") for n in range(5001)])
    assert [body.count(b"\n") + 1 for body in relay[0].bodies] == [5000, 1]
    relay[0].bodies.clear()
    await store.write([packed(f"node-{n}", row="x" * 900_000) for n in range(6)])
    assert [len(body) < 4 * 2**20 for body in relay[0].bodies] == [True, True]
    relay[0].bodies.clear()
    await store.write([point(), packed(), packed(policy="quarter"), packed("node-2")])
    # The ledger first, the detail last.
    assert [body.split(b",")[0] for body in relay[0].bodies] == [b"node", b"node", b"accelerator"]
    assert relay[0].bodies[0].count(b"\n") == 1
    await store.close()


async def test_many_rows_too_old_cost_few_requests(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    store = await through(relay, influxdb_shared, tmp_path)
    old = QUARTER - 40 * 86_400
    rows = [packed(f"node-{n}", start=old if n % 2 else QUARTER) for n in range(5000)]
    rejections = await store.write(rows)
    assert [one.index for one in rejections if one.too_old] == list(range(1, 5000, 2))
    assert len(await ledger(store)) == 2500
    assert len(relay[0].bodies) < 40
    await store.close()


async def test_a_close_meanwhile_is_no_fault(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    store = InfluxStore(config.model_copy(update={"compress": True}))
    await store.open()

    async def attempt(number: int) -> None:
        try:
            assert await store.write([packed(f"node-{number}")]) == []
        except StoreUnavailableError:
            await attempt(number)

    async def closing() -> None:
        for _ in range(20):
            await asyncio.sleep(0.002)
            await store.close()

    await asyncio.gather(closing(), *(attempt(number) for number in range(100)))
    assert len(await ledger(store)) == 100
    await store.close()


async def test_what_leaves_the_machine_is_compressed(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    store = await through(relay, influxdb_shared, tmp_path, compress=True)
    rows = [packed(f"node-{n:03d}") for n in range(1000)]
    assert await store.write(rows) == []
    assert relay[0].encodings == ["gzip"]
    assert len(relay[0].bodies[0]) < 30_000
    assert await ledger(store) == rows
    await store.close()


@pytest.mark.parametrize("status", [301, 400, 422, 429, 500, 502, 503, 504])
async def test_a_refusal_that_names_no_row_refuses_no_row(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path, status: int
) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="<html>no</html>", headers={"Location": "/x"})

    store = await through(relay, influxdb_shared, tmp_path)
    relay[0].answer = refuse
    for attempt in (store.open(), store.write([packed()]), ledger(store)):
        with pytest.raises(StoreUnavailableError, match=f"{relay[1]}: {status} "):
            await attempt
    relay[0].answer = None
    assert await store.write([packed()]) == []
    await store.close()


async def test_an_answer_that_breaks_off_is_no_answer(
    relay: tuple[Relay, str], influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    texts = [
        b'{"results":[{"series":[{"columns":[],"values":[],"partial":true}],"partial":true}]}\n',
        b'{"results":[{"ser',
        b"",
        b"<html>",
        b'{"error":"timeout"}',
    ]
    store = await through(relay, influxdb_shared, tmp_path)
    for text in texts:

        async def break_off(_: web.Request, text: bytes = text) -> web.StreamResponse:
            return web.Response(body=text)

        relay[0].answer = break_off
        with pytest.raises(StoreUnavailableError, match="reading node from"):
            await ledger(store)
    await store.close()


async def test_a_killed_server_is_waited_for(influxdb: InfluxDB, tmp_path: Path) -> None:
    async with opened_influx(await influx_config(influxdb, tmp_path)) as store:
        assert await store.write([packed("before")]) == []
        influxdb.kill()
        for attempt in (store.write([packed("between")]), ledger(store), store.open()):
            with pytest.raises(StoreUnavailableError, match=f"{influxdb.url}: .*server runs"):
                await attempt
        influxdb.start()
        assert await store.write([packed("after")]) == []
        assert [row.thing for row in await ledger(store)] == ["after", "before"]


async def test_a_hanging_server_is_given_up_on(influxdb: InfluxDB, tmp_path: Path) -> None:
    async with opened_influx(await influx_config(influxdb, tmp_path, deadline="500ms")) as store:
        os.kill(influxdb.pid, signal.SIGSTOP)
        try:
            for attempt in (store.write([packed()]), ledger(store)):
                with pytest.raises(StoreUnavailableError, match=r"no answer in 0\.5 s"):
                    await attempt
        finally:
            os.kill(influxdb.pid, signal.SIGCONT)
        while True:
            try:
                assert await store.write([packed()]) == []
            except StoreUnavailableError:
                continue
            break
        assert len(await ledger(store)) == 1


async def test_a_refused_token_is_read_again(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    file = tmp_path / "collector.token"
    right = file.read_text()
    async with opened_influx(config) as store:
        await store.close()
        for text, said in (("wrong-secret", "401"), ("", "is empty")):
            file.write_text(text)
            for attempt in (store.write([packed()]), ledger(store), store.open()):
                with pytest.raises(StoreUnavailableError, match=said) as caught:
                    await attempt
                assert "wrong-secret" not in str(caught.value)
                assert "collector.token" in str(caught.value)
        file.unlink()
        with pytest.raises(StoreUnavailableError, match="No such file"):
            await store.write([packed()])
        file.write_text((tmp_path / "grafana.token").read_text())
        assert await ledger(store) == []
        with pytest.raises(StoreUnavailableError, match=r"403 .*init-influx makes one"):
            await store.write([packed()])
        file.write_text(right)
        assert await store.write([packed()]) == []


async def test_a_missing_bucket_is_named(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    name = f"{config.database}/ledger"
    async with opened_influx(config) as store:
        assert await store.write([packed("before")]) == []
        query = urlencode({"name": name})
        found = influxdb_shared.request("GET", f"/api/v2/buckets?{query}")["buckets"][0]["id"]
        influxdb_shared.request("DELETE", f"/api/v2/buckets/{found}")
        for attempt in (store.write([packed("between"), point()]), store.open()):
            with pytest.raises(StoreUnavailableError, match=f"{name} .*init-influx"):
                await attempt
        with pytest.raises(StoreUnavailableError, match=r"not found: ledger: .*init-influx"):
            await ledger(store)
        # The ledger comes first, and nothing without it.
        assert await detail(store) == []
        assert any("made" in line for line in await init(influxdb_shared, config, tmp_path))
        await store.close()
        await store.open()
        assert await store.write([packed("after")]) == []
        assert [row.thing for row in await ledger(store)] == ["after"]


async def test_a_wrong_org_is_named(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    config = await influx_config(influxdb_shared, tmp_path)
    store = InfluxStore(config.model_copy(update={"org": "nobody"}))
    with pytest.raises(StoreUnavailableError, match="nobody"):
        await store.open()
    await store.close()


def test_a_config_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_TOKEN", "very-secret")
    values = {"url": "http://db:8086/", "org": "o", "token": {"env": "TEST_TOKEN"}}
    config = InfluxConfig.model_validate(values)
    assert config.token.read().get_secret_value() == "very-secret"
    assert "very-secret" not in repr(config) + config.model_dump_json()
    assert config.url == "http://db:8086"
    assert config.compresses()
    assert not InfluxConfig.model_validate(values | {"url": "http://127.0.0.1:8086"}).compresses()
    for wrong in (
        {"url": "http://user:very-secret@db:8086"},
        {"url": "ftp://very-secret"},
        {"url": "http://db/?token=very-secret"},
        {"timeout": "0s"},
        {"timeout": 5},
        {"token": "very-secret"},
        {"database": "a/b"},
        {"other": "very-secret"},
    ):
        with pytest.raises(ValueError, match="validation error") as caught:
            InfluxConfig.model_validate(values | wrong)
        assert "very-secret" not in str(caught.value)
    with pytest.raises(ValueError, match="either file or env"):
        Secret()
