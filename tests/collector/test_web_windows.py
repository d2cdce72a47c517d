"""The page's long windows: what is kept, read at most once a minute."""

import json

import pytest

from meterhouse_agent import wire
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.quarters.windows import named_windows, window_kpis
from meterhouse_collector.rows import EngineRow, PackedRow, Row, Served, pack
from meterhouse_collector.store import Store
from meterhouse_collector.web.long_windows import LongWindows
from tests.collector.collecting import index
from tests.collector.settling import FIRST, KNOWN, STEP, rows_of, told

SLO = """
[[slo]]
name = "chat-first-token"
served_model = "llama"
metric = "time_to_first_token"
threshold = "500ms"
objective_ratio = 0.9
"""
WINDOWS = {"hour", "day", "month_to_date", "trailing_year"}


async def settle(store: Store, quarter: int) -> None:
    nodes = ("node-1", "node-2")
    entries = [told(node, at) for node in nodes for at in range(quarter, quarter + 900, STEP)]
    await store.write(rows_of(entries))
    await settle_quarters(store, KNOWN, [quarter])


async def test_each_window_has_what_the_command_says_of_it(store: Store) -> None:
    now = float(FIRST + 4500)
    for number in range(5):
        await settle(store, FIRST + 900 * number)
    found = json.loads(await LongWindows(store, KNOWN, clock=lambda: now).encoded())
    assert set(found) == WINDOWS
    for name, stretch in named_windows(now, KNOWN).items():
        assert found[name]["window"] == stretch._asdict()
        for kpi in (await window_kpis(store, KNOWN, stretch)).values():
            shown = found[name]["kpis"][kpi.name]
            figures = (shown["value"], shown["low"], shown["high"])
            assert figures == tuple(
                None if each is None else pytest.approx(each, rel=1e-12)
                for each in (kpi.value, kpi.low, kpi.high)
            )
            assert shown["coverage"] == kpi.coverage
            assert shown["reason"] == kpi.reason
    assert found["hour"]["kpis"]["idle_capacity_ratio"]["value"] is not None


async def test_it_is_read_once_a_minute_and_a_settled_day_is_read_again(store: Store) -> None:
    now = float(FIRST + 3 * 86_400)
    windows = LongWindows(store, KNOWN, clock=lambda: now)
    await settle(store, FIRST)
    before = await windows.encoded()
    await settle(store, FIRST + 900)
    assert await windows.encoded() == before
    windows.changed([FIRST + 900])
    now += 60
    after = json.loads(await windows.encoded())
    year = named_windows(now, KNOWN)["trailing_year"]
    truth = (await window_kpis(store, KNOWN, year))["idle_capacity_ratio"]
    numerators = [
        each["trailing_year"]["kpis"]["idle_capacity_ratio"]["numerator"]
        for each in (json.loads(before), after)
    ]
    assert numerators[1] == pytest.approx(truth.numerator, rel=1e-12)
    assert numerators[0] != numerators[1]


async def test_an_objective_is_held_against_the_hour_and_the_day(store: Store) -> None:
    now = float(FIRST + 900)
    latency = {"ttft": wire.Histogram(edges_seconds=[0.5], counts=[9, 1], sum_seconds=1.0)}
    rows: list[Row] = []
    for at in range(FIRST - 95 * 900, FIRST + 900, 900):
        told_of = Served("llama", 900_000, 1, 0, 1, latency=latency)
        row = EngineRow(900_000, (told_of,))
        rows.append(PackedRow("ledger", "engine", KNOWN.site, "chat", "node-1", at, pack(row)))
    await store.write(rows)
    site = index(SLO)
    found = json.loads(await LongWindows(store, site, clock=lambda: now).encoded())
    for name, quarters in (("hour", 4), ("day", 96)):
        (slo,) = found[name]["slos"]
        assert (slo["share"], slo["requests"], slo["met"]) == (0.9, quarters * 10, True)
        assert slo["coverage"] == 1.0
    (slo,) = found["trailing_year"]["slos"]
    assert (slo["share"], slo["met"]) == (None, None)
    assert slo["reason"] == "not read of a window of more than 1 day"


async def test_a_site_without_objectives_has_none(store: Store) -> None:
    found = json.loads(await LongWindows(store, KNOWN, clock=lambda: float(FIRST)).encoded())
    assert [found[name]["slos"] for name in sorted(WINDOWS)] == [[], [], [], []]
