"""Latency objectives over a window: what engines observed, known bucket by bucket."""

import re

import pytest
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.kpi.slo import error_budget_spent_ratio, objective_met
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.quarters.slo_windows import (
    SLO_SECONDS_MAX,
    Reading,
    SloWindow,
    own_window_slos,
    window_slos,
)
from meterhouse_collector.quarters.windows import Stretch
from meterhouse_collector.rows import EngineRow, PackedRow, Served, pack
from meterhouse_collector.store import Store
from tests.collector.collecting import index
from tests.collector.settling import FIRST, KNOWN

LENGTH = 900
DAY = 86_400
WINDOW = Stretch(FIRST, FIRST + 2 * LENGTH)
EDGES = (0.25, 0.5, 1.0)


def slo(name: str = "first-token", **changed: str) -> str:
    """Return an objective as the site file has it, with keys changed."""
    keys = {
        "served_model": '"llama"',
        "metric": '"time_to_first_token"',
        "threshold": '"500ms"',
        "objective_ratio": "0.9",
        "window": '"30m"',
        **changed,
    }
    lines = (f"{key} = {value}" for key, value in keys.items())
    return "\n".join(["[[slo]]", f'name = "{name}"', *lines, ""])


def told(
    start: int,
    counts: tuple[int, ...],
    *,
    edges: tuple[float, ...] = EDGES,
    model: str = "llama",
    engine: str = "chat",
    reader: str = "node-1",
) -> PackedRow:
    """Return the row of an engine over a quarter hour."""
    latency = {
        "ttft": wire.Histogram(edges_seconds=list(edges), counts=list(counts), sum_seconds=1.0)
    }
    row = EngineRow(LENGTH * 1000, (Served(model, LENGTH * 1000, 1, 0, 1, latency=latency),))
    return PackedRow("ledger", "engine", KNOWN.site, engine, reader, start, pack(row))


async def one(store: Store, text: str, window: Stretch = WINDOW) -> SloWindow:
    """Return the only objective of a site over a window."""
    (found,) = await window_slos(store, index(text), window)
    return found


async def test_the_share_on_an_edge_is_exact_before_and_after_the_quarter_is_summed(
    store: Store,
) -> None:
    rows = [
        told(FIRST, (60, 20, 10, 0)),
        told(FIRST, (60, 20, 10, 0), reader="node-2"),
        told(FIRST + LENGTH, (5, 0, 3, 2)),
        told(FIRST, (0, 0, 0, 500), model="other", engine="second"),
        told(WINDOW.end_seconds, (0, 0, 0, 500)),
    ]
    assert await store.write(rows) == []
    for quarters in ([], [FIRST], [FIRST + LENGTH]):
        await settle_quarters(store, KNOWN, quarters)
        found = await one(store, slo())
        assert found == SloWindow(
            name="first-token",
            served_model="llama",
            metric="time_to_first_token",
            threshold_seconds=0.5,
            objective_ratio=0.9,
            window_seconds=1800,
            share=0.85,
            low=0.85,
            high=0.85,
            requests=100,
            coverage=1.0,
            budget_spent_ratio=found.budget_spent_ratio,
            met=False,
        )
        assert found.budget_spent_ratio == pytest.approx(1.5)


async def test_between_edges_there_are_bounds_and_perhaps_an_answer(store: Store) -> None:
    assert await store.write([told(FIRST, (60, 20, 10, 10)), told(FIRST + 900, (0,) * 4)]) == []
    for objective, met in ((0.55, True), (0.6, True), (0.7, None), (0.8, None), (0.81, False)):
        found = await one(store, slo(threshold='"300ms"', objective_ratio=str(objective)))
        assert (found.share, found.low, found.high) == (None, 0.6, 0.8)
        assert (found.met, found.budget_spent_ratio) == (met, None)
        assert found.reason == "0.3 s is no bucket edge that all replicas have"


async def test_replicas_are_summed_on_the_edges_that_all_have(store: Store) -> None:
    second = '[[engine]]\nname = "second"\nserved_model = "llama"\ndevices = ["node-2/gpu-0"]\n'
    rows = [told(at, (10, 5, 0, 0)) for at in (FIRST, FIRST + 900)]
    rows += [told(at, (9, 1, 0), edges=(0.5, 2.0), engine="second") for at in (FIRST, FIRST + 900)]
    assert await store.write(rows) == []
    found = await one(store, second + slo(objective_ratio="0.95"))
    assert (found.share, found.requests, found.met) == (0.96, 50, True)


async def test_replicas_without_an_edge_in_common_have_no_share(store: Store) -> None:
    rows = [told(FIRST, (1, 0, 0, 0)), told(FIRST + 900, (1, 0), edges=(7.0,))]
    assert await store.write(rows) == []
    found = await one(store, slo())
    assert (found.share, found.low, found.high, found.met) == (None, None, None, None)
    assert found.reason == "the replicas have no bucket edge in common"


async def test_without_requests_there_is_no_value(store: Store) -> None:
    found = await one(store, slo())
    assert (found.share, found.met, found.requests, found.coverage) == (None, None, 0, 0.0)
    assert found.reason == "no engine told of the served model"
    assert await store.write([told(FIRST, (0,) * 4), told(FIRST + 900, (0,) * 4)]) == []
    found = await one(store, slo())
    assert (found.share, found.met, found.coverage) == (None, None, 1.0)
    assert found.reason == "no request was observed"
    found = await one(store, slo(metric='"inter_token_latency"'))
    assert (found.share, found.reason) == (None, "no engine reports this latency")


async def test_too_little_coverage_has_no_value_and_no_bounds(store: Store) -> None:
    assert await store.write([told(FIRST, (9, 0, 0, 1))]) == []
    found = await one(store, slo())
    assert (found.requests, found.coverage) == (10, 0.5)
    assert (found.share, found.low, found.high, found.met) == (None, None, None, None)
    assert found.reason == "coverage 50.0% is below 95%"


async def test_an_objective_of_all_leaves_no_budget(store: Store) -> None:
    assert await store.write([told(FIRST, (9, 1, 0, 0)), told(FIRST + 900, (1, 0, 0, 0))]) == []
    found = await one(store, slo(objective_ratio="1.0"))
    assert (found.share, found.met, found.budget_spent_ratio) == (1.0, True, None)
    assert found.reason == "an objective of all leaves no budget"


async def test_buckets_that_are_none_are_left(store: Store) -> None:
    good = [told(FIRST, (3, 1, 0, 0)), told(FIRST + 900, (0, 0, 0, 0))]
    bad = [
        told(FIRST, (5, 5, 5, 5), edges=(0.5, 0.25, 1.0), engine="x"),
        told(FIRST, (5,), engine="y"),
        replace(told(FIRST, (5, 5), engine="z"), row="{"),
    ]
    assert await store.write([*good, *bad]) == []
    found = await one(store, slo())
    assert (found.share, found.requests) == (1.0, 4)


async def test_a_window_of_days_is_read_day_by_day(store: Store) -> None:
    days = 3
    start = FIRST - days * DAY
    rows = [told(at, (9, 0, 1, 0)) for at in range(start, FIRST, LENGTH)]
    assert await store.write(rows) == []
    shown: list[float] = []
    reading = Reading(progress=lambda part, _: shown.append(part))
    (found,) = await own_window_slos(store, index(slo(window=f'"{days}d"')), FIRST, reading)
    assert (found.window_seconds, found.requests) == (days * DAY, days * 960)
    assert (found.share, found.met, found.coverage) == (0.9, True, 1.0)
    assert found.budget_spent_ratio == pytest.approx(1.0)
    assert shown == [1 / 3, 2 / 3, 1.0]


async def test_a_window_that_is_too_long_says_so(store: Store) -> None:
    long = Stretch(FIRST - SLO_SECONDS_MAX, FIRST + 900)
    found = await one(store, slo(), long)
    assert (found.share, found.met, found.requests, found.coverage) == (None,) * 4
    assert found.reason == "not read of a window of more than 92 days"
    (found,) = await window_slos(store, index(slo()), Stretch(FIRST - 2 * DAY, FIRST), Reading(DAY))
    assert found.reason == "not read of a window of more than 1 day"


async def test_an_objective_that_is_over_is_not_asked(store: Store) -> None:
    over = index(slo(valid_to="2020-01-01"))
    assert await window_slos(store, over, WINDOW) == []
    assert await own_window_slos(store, over, WINDOW.end_seconds) == []


async def test_an_engine_is_expected_while_the_register_has_it(store: Store) -> None:
    later = (
        '[[engine]]\nname = "second"\nserved_model = "llama"\ndevices = ["node-2/gpu-0"]\n'
        "valid_to = 2020-01-01\n"
    )
    assert await store.write([told(FIRST, (1, 0, 0, 0)), told(FIRST + 900, (1, 0, 0, 0))]) == []
    assert (await one(store, later + slo())).coverage == 1.0
    there = re.sub("valid_to.*\n", "", later)
    assert (await one(store, there + slo())).coverage == 0.5


def test_the_budget_and_the_bounds_of_an_objective() -> None:
    assert error_budget_spent_ratio(within_ratio=1.0, objective_ratio=0.99).value == 0.0
    with pytest.raises(ValueError, match=r"within_ratio is 1\.5"):
        error_budget_spent_ratio(within_ratio=1.5, objective_ratio=0.99)
    with pytest.raises(ValueError, match="objective_ratio is nan"):
        error_budget_spent_ratio(within_ratio=1.0, objective_ratio=float("nan"))
    assert objective_met(low_ratio=None, high_ratio=None, objective_ratio=0.9) is None
    assert objective_met(low_ratio=0.9, high_ratio=0.95, objective_ratio=0.9) is True
