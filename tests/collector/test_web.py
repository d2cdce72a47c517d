"""The live page's server: it says what is known live, all of it, and nothing that is not."""

import asyncio
import json
import math
import re
import signal
import socket
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from meterhouse_collector.live import Live
from meterhouse_collector.web.history import POINTS_MAX, Past, last_of
from meterhouse_collector.web.server import CLIENTS_MAX, PageServer
from tests.stand_ins.live_site import LENGTH, SITE, START, LiveSite

STATIC = resources.files("meterhouse_collector.web").joinpath("static")
FILES = [file.name.removeprefix("page.html") for file in STATIC.iterdir()]
KPIS = (
    "pue",
    "idle_capacity_ratio",
    "cost_per_million_output_tokens",
    "cost_per_million_tokens",
    "cost_per_million_computed_tokens",
    "availability",
    "allocation_ratio",
    "success_ratio",
    "joules_per_output_token",
    "tokens_per_second_per_megawatt",
)
# Its engine tells of no request.
WITHOUT_VALUE = "success_ratio"


async def text_of(page: PageServer, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(page.address + path) as answer:
        assert answer.status == 200
        return await answer.text()


async def api(page: PageServer) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await text_of(page, "api/live"))
    return answer


async def gauges(page: PageServer) -> dict[str, float]:
    families = text_string_to_metric_families(await text_of(page, "metrics"))
    return {
        sample.name + "".join(f"/{v}" for k, v in sample.labels.items() if k == "state"): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


async def filled(*silent: str) -> LiveSite:
    site = LiveSite()
    for number in range(6):
        await site.interval(number, tokens=900 + number, silent=silent if number > 3 else ())
    return site


async def test_the_api_equals_the_snapshot() -> None:
    site = await filled()
    snapshot = site.live.snapshot()
    assert snapshot is not None
    async with site.served() as page:
        found = await api(page)
    assert found["window"] == {"start_seconds": START, "end_seconds": START + 6 * LENGTH}
    assert set(found["kpis"]) == set(KPIS)
    for name, kpi in snapshot.kpis.items():
        assert (kpi.value is None) == (name == WITHOUT_VALUE)
        for field, value in found["kpis"][name].items():
            assert getattr(kpi, field) == value, (name, field)
    assert found["states"]["active"] == snapshot.sums["active_seconds"] == 6 * 13
    assert found["installed"] == 6 * 40
    assert found["power"]["facility_watts"] == snapshot.sums["facility_joules"] / 30
    assert found["power"]["it_watts"] == 4000.0
    assert found["tokens"]["output_per_second"] == sum(900 + n for n in range(6)) / 30


async def test_money_adds_up_to_capital_and_the_bill() -> None:
    site = await filled()
    async with site.served() as page:
        money = (await api(page))["money"]
    capital = 240 * 25_000 / (1825 * 86_400)
    bill = sum(26_017 + 100 * n for n in range(6)) / 3.6e6 * 0.2
    assert math.isclose(sum(money["matrix"]["capital"].values()), capital, rel_tol=1e-12)
    assert math.isclose(sum(money["matrix"]["energy"].values()), bill, rel_tol=1e-12)
    assert math.isclose(money["total"], capital + bill, rel_tol=1e-12)
    assert money["unpriced_device_seconds"] == 0


async def test_groups_are_pools_and_served_models() -> None:
    site = await filled()
    async with site.served() as page:
        found = await api(page)
    pools = {pool["name"]: pool for pool in found["pools"]["list"]}
    assert set(pools) == {"chat", "spare"}
    assert pools["chat"]["tenant"] == "acme"
    assert pools["spare"]["kpis"]["idle_capacity_ratio"]["value"] == 1.0
    assert pools["spare"]["kpis"]["cost_per_million_output_tokens"]["value"] is None
    assert sum(pool["installed"] for pool in pools.values()) == found["installed"]
    (model,) = found["served_models"]["list"]
    assert model["name"] == "llama"
    assert model["output_tokens"] == sum(900 + n for n in range(6))


async def test_what_one_engine_serves_by_declared_weights_is_estimated() -> None:
    mixed = 'served_models = { "llama" = 0.25, "other" = 0.75 }'
    labels = []
    for text in (SITE, SITE.replace('served_model = "llama"\ndevices', f"{mixed}\ndevices")):
        site = LiveSite(text=text)
        await site.interval(0, tokens=900)
        async with site.served() as page:
            models = (await api(page))["served_models"]["list"]
        labels += [(m["name"], m["kpis"]["cost_per_million_tokens"]["label"]) for m in models]
    said = "cost per million tokens, estimated by declared weights"
    assert labels[0] == ("llama", "cost per million tokens")
    assert sorted(labels[1:]) == [("llama", said), ("other", said)]


async def test_before_the_first_interval_nothing_has_a_value() -> None:
    site = LiveSite()
    async with site.served() as page:
        found = await api(page)
        metrics = await gauges(page)
    assert found["window"] is None
    assert found["states"] is None
    assert found["money"] is None
    assert found["power"]["it_watts"] is None
    for kpi in found["kpis"].values():
        assert kpi["value"] is None
        assert kpi["numerator"] is None
        assert kpi["reason"] == "no interval is over yet"
    assert not [name for name in metrics if name.startswith(tuple(f"meterhouse_{k}" for k in KPIS))]


async def test_metrics_have_the_kpis_and_the_collectors_own() -> None:
    site = await filled()
    snapshot = site.live.snapshot()
    assert snapshot is not None
    async with site.served() as page:
        metrics = await gauges(page)
    for name, kpi in snapshot.kpis.items():
        assert metrics.get(f"meterhouse_{name}") == kpi.value
        assert metrics[f"meterhouse_{name}_coverage_ratio"] == kpi.coverage
    assert metrics["meterhouse_accelerators/active"] == 13 / 5
    assert metrics["meterhouse_it_power_watts"] == 4000.0
    assert metrics["meterhouse_collector_reports_total"] == 0


async def test_a_kpi_without_a_value_is_absent_from_metrics_and_has_a_reason() -> None:
    site = await filled("n1", "meters")
    async with site.served() as page:
        found = await api(page)
        metrics = await gauges(page)
    idle = found["kpis"]["idle_capacity_ratio"]
    assert idle["value"] is None
    assert "coverage 83.3% is below 95%" in idle["reason"]
    assert idle["low"] < idle["high"]
    for name in KPIS:
        if found["kpis"][name]["value"] is None:
            assert f"meterhouse_{name}" not in metrics
            assert metrics[f"meterhouse_{name}_coverage_ratio"] < 0.95 or name == WITHOUT_VALUE
    assert "meterhouse_idle_capacity_ratio_low" not in metrics
    assert metrics["meterhouse_accelerators/unknown"] == 2 * 20 / 30


async def test_everything_is_ours_small_and_under_one_policy() -> None:
    site = await filled()
    size = 0
    async with site.served() as page, aiohttp.ClientSession() as session:
        for path in (*FILES, "api/live", "metrics"):
            async with session.get(page.address + path) as answer:
                assert answer.status == 200, path
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                body = await answer.text()
            if path in FILES:
                size += len(body.encode())
                outside = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", body)
                assert set(outside) <= {"http://www.w3.org"}, path
        async with session.get(page.address + "missing") as answer:
            assert answer.status == 404
            assert "Content-Security-Policy" in answer.headers
    assert size < 150_000


async def next_event(stream: aiohttp.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            line = await stream.readline()
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                return found


async def test_each_interval_comes_as_one_event() -> None:
    site = await filled()
    page = site.page()
    await page.start()
    running = asyncio.create_task(page.run(), name="page")
    timeout = aiohttp.ClientTimeout(total=60)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as session,
            session.get(page.address + "events") as answer,
        ):
            assert answer.content_type == "text/event-stream"
            first = await next_event(answer.content)
            assert first == await api(page)
            await site.interval(6)
            second = await next_event(answer.content)
            assert second["window"]["end_seconds"] == START + 7 * LENGTH
            assert second == await api(page)
            await site.interval(7)
            third = await next_event(answer.content)
            assert third["window"]["end_seconds"] == START + 8 * LENGTH
    finally:
        running.cancel()
        await page.close()
    assert page.clients == 0


async def until(condition: Any) -> None:  # noqa: ANN401 - a callable
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.02)


async def test_no_more_clients_than_the_bound() -> None:
    site = await filled()
    async with site.served() as page:
        writers = []
        host, port = page.address.removeprefix("http://").rstrip("/").split(":")
        for _ in range(CLIENTS_MAX):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
            writers.append(writer)
        await until(lambda: page.clients == CLIENTS_MAX)
        url = page.address + "events"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers
        assert (await api(page))["site"] == "site"
        for writer in writers:
            writer.close()
        await until(lambda: page.clients < CLIENTS_MAX)


async def test_a_client_that_does_not_read_is_dropped() -> None:
    site = await filled()
    page = site.page(send_seconds=0.5)
    await page.start()
    running = asyncio.create_task(page.run(), name="page")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = page.address.removeprefix("http://").rstrip("/").split(":")
    try:
        await asyncio.to_thread(client.connect, (host, int(port)))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: page.clients == 1)
        number = 6
        async with asyncio.timeout(60):
            while page.clients:
                # It never reads: sooner or later nothing more fits in between.
                await site.interval(number)
                number += 1
                page._tell()
                await asyncio.sleep(0.005)
        assert (await api(page))["window"]["end_seconds"] == START + number * LENGTH
    finally:
        client.close()
        running.cancel()
        await page.close()


async def test_a_port_in_use_is_said_in_one_line() -> None:
    site = await filled()
    async with site.served() as page:
        port = int(page.address.rstrip("/").rpartition(":")[2])
        other = site.page(port)
        with pytest.raises(
            OSError, match=f"port {port} of 127.0.0.1: it is in use; choose"
        ) as caught:
            await other.start()
    assert "\n" not in str(caught.value)


async def test_agents_in_trouble_come_first() -> None:
    site = await filled()
    site.hear("n1")
    site.hear("gone", state="offline")
    site.hear("quiet", seconds_ago=60).waiting = 7
    site.hear("poison").set_aside.update({"malformed": 3})
    async with site.served() as page:
        agents = (await api(page))["agents"]
    states = {agent["name"]: agent["state"] for agent in agents["list"]}
    assert states == {
        "gone": "offline",
        "quiet": "silent",
        "n2": "unseen",
        "poison": "online",
        "n1": "online",
    }
    assert list(states) == ["gone", "quiet", "n2", "poison", "n1"]
    assert agents["counts"] == {"offline": 1, "silent": 1, "unseen": 1, "online": 2}
    troubles = {agent["name"]: agent["troubles"] for agent in agents["list"] if agent["troubles"]}
    assert troubles == {"poison": ["3 reports set aside: malformed"]}
    assert agents["waiting_reports"] == 7


async def test_a_gap_in_the_history_is_a_gap() -> None:
    site = LiveSite()
    for number in range(6):
        await site.interval(number, silent=("meters",) if number == 2 else ())
    past = Past().history(site.live.intervals(), site.live.window())
    last = last_of(past)
    assert last.start_seconds == past.start_seconds[-1:]
    assert last.kpis["pue"].value == past.kpis["pue"].value[-1:]
    assert past.start_seconds == [START + n * LENGTH for n in range(6)]
    assert [value is None for value in past.kpis["pue"].value] == [n == 2 for n in range(6)]
    assert past.kpis["idle_capacity_ratio"].value == [27 / 40] * 6


async def test_a_long_history_has_bounded_steps_that_are_ratios_of_sums() -> None:
    live: Live = (await filled()).live
    (_, one), *_ = live.intervals()
    twice = {**one, "facility_joint_joules": 2 * one["facility_joint_joules"]}
    count = 3 * POINTS_MAX
    intervals = [(START + n * LENGTH, twice if n % 3 else one) for n in range(count)]
    past = Past().history(intervals, live.window())
    assert past.step_seconds == 3 * LENGTH
    assert len(past.start_seconds) <= POINTS_MAX + 1
    ratio = one["facility_joint_joules"] / one["it_joint_joules"]
    assert math.isclose(past.kpis["pue"].value[1] or 0.0, ratio * 5 / 3, rel_tol=1e-12)


async def test_the_window_begins_where_it_is_told_to() -> None:
    site = await filled("n1")
    site.live.count_from(START + 2 * LENGTH)
    snapshot = site.live.snapshot()
    assert snapshot is not None
    assert snapshot.start_seconds == START + 2 * LENGTH
    assert [start for start, _ in site.live.intervals()] == [
        START + n * LENGTH for n in range(2, 6)
    ]
    site.live.count_from(math.inf)
    assert site.live.snapshot() is None
    assert site.live.intervals() == []


def config(folder: Path, port: int) -> Path:
    (folder / "site.toml").write_text(SITE)
    file = folder / "collector.toml"
    file.write_text(
        f'site = "{folder}/site.toml"\n[socket]\npath = "{folder}/s"\n'
        f'[sqlite]\npath = "{folder}/db"\n[page]\nport = {port}\n'
    )
    return file


async def start_collector(file: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meterhouse_collector", "run", "-c", str(file)),
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_collector_serves_its_page_until_it_is_stopped(tmp_path: Path) -> None:
    process = await start_collector(config(tmp_path, 0))
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while b"page: http://" not in (line := await process.stderr.readline()):
                assert line
            address = line.decode().split("page: ")[1].strip()
            async with (
                aiohttp.ClientSession() as session,
                session.get(address + "api/live") as live,
                session.get(address + "events") as events,
            ):
                assert (await live.json())["site"] == "site"
                assert (await next_event(events.content))["agents"]["counts"]["unseen"] == 2
                # With a client that stays.
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
        assert b"Traceback" not in await process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_collector_whose_port_is_taken_says_so_and_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start_collector(config(tmp_path, taken.getsockname()[1]))
        async with asyncio.timeout(60):
            _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().splitlines()[-1].startswith("page: cannot listen on port ")
    assert said.count(b"\n") == 1
