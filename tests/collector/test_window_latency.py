"""Latencies over a window: buckets of its quarters, of the ledger after them, each row once."""

from meterhouse_agent import wire
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.quarters.window_latency import WINDOW_SECONDS_MAX, window_observed
from meterhouse_collector.quarters.windows import Stretch, window_kpis
from meterhouse_collector.rows import EngineRow, PackedRow, Policy, Served, pack
from meterhouse_collector.store import Store
from tests.collector.settling import FIRST, KNOWN, STEP

SITE = KNOWN.site


def row(start: int, counts: list[int], *, reader: str = "node-1", site: str = SITE) -> PackedRow:
    policy: Policy = "ledger"
    latency = {"ttft": wire.Histogram(edges_seconds=[0.5, 1.0], counts=counts, sum_seconds=1.0)}
    told = EngineRow(STEP * 1000, (Served("llama", STEP * 1000, 1, 0, 1, latency=latency),))
    return PackedRow(policy, "engine", site, "chat", reader, start, pack(told))


async def test_buckets_come_from_quarters_and_then_from_the_ledger(store: Store) -> None:
    rows = [
        row(FIRST, [8, 0, 0]),
        row(FIRST, [8, 0, 0], reader="node-2"),
        row(FIRST + STEP, [1, 1, 0]),
        row(FIRST + 900, [0, 0, 1]),
        row(FIRST + 900, [0, 0, 5], site="elsewhere"),
        PackedRow("ledger", "engine", SITE, "chat", "node-1", FIRST + 900 + STEP, "{"),
    ]
    assert await store.write(rows) == []
    for quarters in ([], [FIRST]):
        await settle_quarters(store, KNOWN, quarters)
        found = await window_observed(store, SITE, FIRST, FIRST + 1000)
        assert found is not None
        assert list(found["time_to_first_token"].observed_count) == [9, 1, 1]
    later = await window_observed(store, SITE, FIRST + 900, FIRST + 1000)
    assert later is not None
    assert list(later["time_to_first_token"].observed_count) == [0, 0, 1]


async def test_a_window_of_days_tells_no_latency(store: Store) -> None:
    end = FIRST + WINDOW_SECONDS_MAX
    assert await window_observed(store, SITE, FIRST, end) == {}
    assert await window_observed(store, SITE, FIRST - 900, end) is None


async def test_quantiles_stand_among_the_kpis_of_a_window(store: Store) -> None:
    assert await store.write([row(FIRST, [0, 10, 0])]) == []
    await settle_quarters(store, KNOWN, [FIRST])
    found = await window_kpis(store, KNOWN, Stretch(FIRST, FIRST + 900))
    p50 = found["time_to_first_token_p50_seconds"]
    assert (p50.denominator, p50.low, p50.high) == (10, 0.5, 1.0)
    # One interval of the quarter is too little for a value.
    assert (p50.value, p50.reason) == (None, f"coverage {STEP / 900:.1%} is below 95%")
    assert "latency_p50_seconds" not in found
