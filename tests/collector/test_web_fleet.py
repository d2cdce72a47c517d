"""The map, the nodes, the flows and the alerts of the page: from the same rows as the KPIs."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from meterhouse_agent import wire
from meterhouse_collector.alerts.state import Observation, Rule
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rollup.points import live_point
from meterhouse_collector.rows import Point
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.web.fleet import Activity
from meterhouse_collector.web.flows import levels_of, path_of
from meterhouse_collector.web.server import PageServer
from meterhouse_collector.web.stored_cells import StoredCells
from tests.collector.collecting import MemoryStore
from tests.stand_ins.live_site import LENGTH, SITE, START, LiveSite


@pytest.fixture
async def site() -> LiveSite:
    found = LiveSite(MemoryStore())
    for number in range(6):
        await found.interval(number, tokens=900)
        found.tell("n1", number, "ahaf")
        found.tell("n2", number, "ffxf")
    return found


@pytest.fixture
async def page(site: LiveSite) -> AsyncIterator[PageServer]:
    async with site.served() as server:
        yield server


async def asked(page: PageServer, path: str, status: int = 200) -> Any:  # noqa: ANN401 - JSON
    async with aiohttp.ClientSession() as session, session.get(page.address + path) as answer:
        assert answer.status == status, path
        text = await answer.text()
    return json.loads(text) if status == 200 else text


async def test_of_older_intervals_states_and_activity_are_left() -> None:
    site = LiveSite(MemoryStore())
    fleet = site.answers.fleet
    site.tell("n1", 0, "ahaf")
    before = fleet.last("n1")
    assert before is not None
    assert before[2].power_watts == [300.0] * 4
    site.tell("n1", 1, "xxaa", watts=70.0)
    after = fleet.last("n1")
    assert after is not None
    assert (after[1], after[2].power_watts) == ("xxaa", [70.0] * 4)
    assert before[2].power_watts == []
    assert fleet.cells(START, site.now).states.startswith("ahaf")
    assert fleet.activity(START, START + 1) == Activity(5.0, 10.0)


async def test_the_map_has_a_cell_for_each_registered_accelerator(page: PageServer) -> None:
    layout = await asked(page, "api/layout")
    assert [(n["name"], n["pool"], n["tenant"]) for n in layout["nodes"]] == [
        ("n1", "chat", "acme"),
        ("n2", "spare", "none"),
    ]
    assert layout["nodes"][0]["devices"] == ["d0", "d1", "d2", "d3"]
    cells = (await asked(page, "api/live"))["cells"]
    assert cells["revision"] == layout["revision"]
    assert cells["start_seconds"] == START + 5 * LENGTH
    assert cells["states"] == "ahaf" + "ffxf"


async def test_what_an_engine_holds_is_never_free_on_the_map(
    site: LiveSite, page: PageServer
) -> None:
    await site.interval(6)
    site.tell("n1", 6, "ffff")
    site.tell("n2", 6, "ffff")
    assert (await asked(page, "api/live"))["cells"]["states"] == "hhff" + "ffff"


async def test_a_node_without_a_report_is_unknown(site: LiveSite, page: PageServer) -> None:
    await site.interval(6, silent=("n2",))
    site.tell("n1", 6, "aaaa")
    live = await asked(page, "api/live")
    assert live["cells"]["states"] == "aaaa" + "uuuu"
    nodes = {n["name"]: n for n in (await asked(page, "api/nodes"))["list"]}
    assert nodes["n2"]["states"]["unknown"] == 4
    assert nodes["n2"]["power_watts"] is None
    assert nodes["n2"]["money_per_hour"] is None
    assert not nodes["n2"]["heard"]


DOWN = """
[[downtime]]
nodes = ["n1"]
reason = "planned"
begins = 2026-05-28T20:26:40Z
said_by = "operations"
[[downtime]]
nodes = ["n2"]
reason = "lost"
begins = 2026-05-28T20:26:45Z
said_by = "ticket 7"
"""


async def test_a_node_that_somebody_says_is_down_is_so_on_the_map() -> None:
    site = LiveSite(text=SITE + DOWN)
    async with site.served() as page:
        for number in range(2):
            await site.interval(number)
            site.tell("n1", number, "ahff")
        live = await asked(page, "api/live")
        nodes = [await asked(page, f"api/nodes/{name}") for name in ("n1", "n2")]
        listed = {n["name"]: n for n in (await asked(page, "api/nodes"))["list"]}
    # What computes goes on until it is done; what is lost does not.
    assert live["cells"]["start_seconds"] == START + LENGTH
    assert live["cells"]["states"] == "axxx" + "xxxx"
    assert [n["said_down"] for n in nodes] == [
        "planned, said by operations",
        "lost, said by ticket 7",
    ]
    assert listed["n2"]["states"]["unhealthy"] == 4
    before = LiveSite(text=SITE + DOWN)
    await before.interval(0, silent=("n1", "n2"))
    async with before.served() as page:
        assert (await asked(page, "api/live"))["cells"]["states"] == "xxxx" + "uuuu"
        assert (await asked(page, "api/nodes/n2"))["said_down"] == "lost, said by ticket 7"


async def test_before_any_report_the_register_makes_the_map() -> None:
    silent = LiveSite()
    await silent.interval(0, silent=("n1", "n2"))
    async with silent.served() as page:
        layout = await asked(page, "api/layout")
        cells = (await asked(page, "api/live"))["cells"]
    assert [len(node["devices"]) for node in layout["nodes"]] == [4, 4]
    assert cells["states"] == "u" * 8


async def test_the_nodes_come_to_what_the_site_costs_and_is(
    site: LiveSite, page: PageServer
) -> None:
    found = await asked(page, "api/nodes")
    newest = site.live.newest()
    assert newest is not None
    (groups,) = site.live.rolled(newest, newest + LENGTH)
    for state in wire.STATES:
        mine = sum(node["states"][state] for node in found["list"])
        assert mine == sum(sums[f"{state}_seconds"] for sums in groups.values()) / LENGTH
    spent = math.fsum(
        sums[f"{state}_{kind}_money"]
        for sums in groups.values()
        for kind in KINDS
        for state in wire.STATES
    )
    per_hour = math.fsum(node["money_per_hour"] for node in found["list"])
    assert math.isclose(per_hour, spent * 3600 / LENGTH, rel_tol=1e-9)
    tokens = [node["output_tokens_per_second"] for node in found["list"]]
    assert tokens == [900 / LENGTH, None]


async def test_the_waterfall_falls_from_installed_to_active(page: PageServer) -> None:
    live = await asked(page, "api/live")
    levels = {level["name"]: level["device_seconds"] for level in live["levels"]}
    assert levels["installed"] == live["installed"] == 240
    assert levels["active"] == live["states"]["active"]
    assert levels["allocated"] == live["states"]["active"] + live["states"]["held_idle"]
    assert levels["available"] == levels["usable"] == levels["known"] == 240
    assert levels["effective"] == levels["active"] / 2
    assert levels["contracted"] is None
    assert live["levels"][0]["reason"] == "no contract buys capacity"


def test_a_waterfall_begins_with_what_was_bought() -> None:
    sums = {
        **dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0),
        "active_seconds": 50.0,
        "held_idle_seconds": 10.0,
        "free_seconds": 20.0,
        "unhealthy_seconds": 5.0,
        "unknown_seconds": 15.0,
        "stranded_seconds": 8.0,
        "bought_contracted_seconds": 120.0,
        "bought_delivered_seconds": 100.0,
    }
    levels = {e.name: e for e in levels_of(sums, contracted=True, activity=Activity(20.0, 25.0))}
    assert [level.device_seconds for level in levels.values()] == [
        *(120.0, 100.0, 100.0, 95.0, 87.0, 72.0, 60.0, 50.0, 40.0),
    ]
    unsaid = levels_of(sums, contracted=False, activity=None)
    assert [level.reason for level in unsaid if level.device_seconds is None] == [
        "no contract buys capacity",
        "no contract buys capacity",
        "no device tells how active it is",
    ]


def test_a_path_with_more_it_than_facility_alarms() -> None:
    sums = dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0)
    sums |= {"pue_joint_seconds": 10.0, "interval_seconds": 10.0}
    sums |= {"facility_joint_joules": 900.0, "it_joint_joules": 1000.0}
    sums |= {"ups_joint_seconds": 5.0, "ups_in_joint_joules": 500.0, "ups_out_joint_joules": 450.0}
    path = path_of(sums, {})
    assert path.reason is not None
    assert path.reason.startswith("more IT power than facility power")
    assert (path.ups_loss_watts, path.sources, path.other_it_watts) == (10.0, (), 100.0)


async def test_the_power_path_adds_up(page: PageServer) -> None:
    live = await asked(page, "api/live")
    path = live["path"]
    assert path["facility_watts"] == live["power"]["facility_watts"]
    assert path["it_watts"] == live["power"]["it_watts"] == 4000.0
    assert path["loss_watts"] == path["facility_watts"] - path["it_watts"]
    inside = math.fsum(each["power_watts"] for each in path["states"])
    assert math.isclose(inside + path["other_it_watts"], 4000.0, rel_tol=1e-12)
    pools = math.fsum(each["power_watts"] for each in path["pools"])
    assert math.isclose(pools, inside, rel_tol=1e-12)
    assert path["reason"] is None


async def test_a_path_without_meters_has_a_reason() -> None:
    site = LiveSite()
    await site.interval(0, silent=("meters",))
    async with site.served() as page:
        path = (await asked(page, "api/live"))["path"]
    assert path["facility_watts"] is None
    assert path["reason"] == "no interval has both facility and IT energy"


async def test_open_alerts_come_first_what_fires(site: LiveSite, page: PageServer) -> None:
    now = site.now
    for name, severity, for_seconds in (("a", "ticket", 60.0), ("b", "ticket", 0.0)):
        seen = Observation((("site", "site"), ("pool", name)), 0.4, 0.3)
        site.book.observe(Rule(name, "idle", severity, for_seconds), [seen], now)
        site.book.observe(Rule(name, "idle", severity, for_seconds), [seen], now + 1)
    # The answer is made again for a new interval.
    await site.interval(6)
    alerts = (await asked(page, "api/live"))["alerts"]
    assert (alerts["firing"], alerts["pending"]) == (1, 1)
    first = alerts["list"][0]
    assert (first["name"], first["phase"], first["value"], first["limit"]) == (
        "b",
        "firing",
        0.4,
        0.3,
    )
    assert first["labels"] == {"site": "site", "pool": "b"}
    assert first["summary"] == (
        "40.0% of the usable accelerators of pool b stand idle; the limit is 30.0%"
    )


async def test_a_node_shows_its_devices_states_and_past(site: LiveSite, page: PageServer) -> None:
    tags = (("device", "d1"), ("node", "n1"), ("site", "site"))
    start = int(site.now) - 100
    fields = {"power_watts": 250.0, "temperature_celsius": 40.0, "state_number": 2.0}
    other = tuple((name, "n2" if name == "node" else value) for name, value in tags)
    store = site.answers._store
    assert store is not None
    await store.write(
        [
            Point("detail", "accelerator", tags, {**fields}, start),
            Point("detail", "accelerator", other, {**fields}, start),
        ]
    )
    node = await asked(page, "api/nodes/n1")
    now = START + 5 * LENGTH
    assert (node["start_seconds"], node["reading_seconds"]) == ([start, now], now)
    # One device was told of a while ago, and all of them now.
    assert [device["states"] for device in node["devices"]] == ["ua", "fh", "ua", "uf"]
    assert node["devices"][0]["readings"]["power_watts"] == 300.0
    assert node["devices"][0]["readings"]["temperature_celsius"] is None
    assert node["past_seconds"] == [start]
    assert node["devices"][1]["past"] == {"power_watts": [250.0], "temperature_celsius": [40.0]}
    assert node["devices"][0]["past"]["power_watts"] == [None]


async def test_an_unknown_node_is_not_there(page: PageServer) -> None:
    assert await asked(page, "api/nodes/n3", 404) == "no node of that name is on the map\n"
    assert "span: allowed" in await asked(page, "api/history?span=week", 400)


async def test_an_hour_comes_from_the_store_and_the_rest_live(
    site: LiveSite, page: PageServer
) -> None:
    store = site.answers._store
    assert store is not None
    older = START - 40 * LENGTH
    (_, sums), *_ = site.live.intervals()
    group = site.index.site_group
    await store.write([live_point(group, sums, older + n * LENGTH) for n in range(3)])
    hour = await asked(page, "api/history?span=hour")
    assert hour["step_seconds"] == 15
    assert hour["start_seconds"][0] == older - older % 15
    assert hour["kpis"]["pue"]["value"][0] == hour["kpis"]["pue"]["value"][1]
    window = await asked(page, "api/history")
    assert window["start_seconds"] == [START + n * LENGTH for n in range(6)]
    day = await asked(page, "api/history?span=day")
    assert (day["step_seconds"], day["start_seconds"]) == (900, [])


async def test_a_store_that_is_away_is_said(site: LiveSite, page: PageServer) -> None:
    store = site.answers._store
    assert isinstance(store, MemoryStore)
    store.down = "gone"
    assert "the history cannot be read" in await asked(page, "api/history?span=hour", 503)
    assert "the node's past cannot be read" in await asked(page, "api/nodes/n1", 503)
    assert (await asked(page, "api/live"))["cells"]["states"] == "ahafffxf"


async def test_formulas_are_those_of_the_catalogue(page: PageServer) -> None:
    formulas = await asked(page, "api/formulas")
    assert set(formulas) == set((await asked(page, "api/live"))["kpis"])
    assert formulas["pue"].startswith("facility energy / IT energy")


async def test_a_steward_takes_its_map_from_the_store() -> None:
    site = LiveSite(store := MemoryStore())
    await site.interval(0)
    cells = StoredCells(
        store, site.answers.fleet, "site", every_seconds=60.0, clock=lambda: site.now
    )
    states = (("d0", 0.0), ("d1", 1.0), ("d2", 3.0), ("d10", 4.0))
    await store.write(
        [
            Point(
                "detail",
                "accelerator",
                (("accelerator_model", "M"), ("device", d), ("node", "n1"), ("site", "site")),
                {"state_number": number, "power_watts": 70.0},
                start,
            )
            for start in (START - 60, START)
            for d, number in states
        ]
    )
    await cells.read()
    async with site.served() as served:
        live = await asked(served, "api/live")
        node = await asked(served, "api/nodes/n1")
    # d3 of the register never told, and d10 is beyond it; n2 said nothing.
    assert node["devices"][3]["name"] == "d10"
    assert live["cells"]["states"] == "ahxu" + "u" + "uuuu"
    assert node["devices"][0]["readings"]["power_watts"] == 70.0
    site.now += 600
    await site.interval(120)
    async with site.served() as served:
        assert set((await asked(served, "api/live"))["cells"]["states"]) == {"u"}
    store.down = "gone"
    with pytest.raises(StoreUnavailableError):
        await cells.read()
