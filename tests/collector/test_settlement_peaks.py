"""Who drew the peak that demand is charged by: beside the charge, which is spread evenly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.bill_lines import PeakInterval
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.settlement.account import account
from meterhouse_collector.settlement.documents import document
from meterhouse_collector.settlement.peaks import demand_peak, peak_shares
from meterhouse_collector.settlement.reading import read_sources
from meterhouse_collector.settlement.statement import PART, statement
from meterhouse_collector.settlement.table import as_table
from meterhouse_collector.site.index import GroupKey
from tests.collector.bills import instant
from tests.collector.collecting import MemoryStore
from tests.collector.settled import fill, site

PEAK = PeakInterval("peak 2026-10", 1_780_000_200, 900, Decimal(5))
CHAT, SPARE = GroupKey("site", pool="chat", tenant="acme"), GroupKey("site", pool="spare")


def drawn(joules: float) -> dict[str, float]:
    return {**zero_sums(), "active_drawn_joules": joules * 0.75, "free_drawn_joules": joules / 4}


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=6))
def test_shares_of_a_peak_sum_to_one_by_every_part(joules: list[float]) -> None:
    sums = {
        GroupKey("site", pool=f"p{n}", tenant=f"t{n % 2}"): drawn(each)
        for n, each in enumerate(joules)
    }
    peak = demand_peak(PEAK, sums)
    for by in PART.values():
        assert sum(peak_shares(peak, by).ratios.values()) == pytest.approx(1)


def test_a_group_has_the_part_of_the_joules_that_it_drew() -> None:
    none = GroupKey("site")
    peak = demand_peak(PEAK, {CHAT: drawn(100.0), SPARE: drawn(25.0), none: zero_sums()})
    assert peak_shares(peak, PART["pool"]).ratios == {"chat": 0.8, "spare": 0.2}
    assert peak_shares(peak, PART["tenant"]).ratios == {"acme": 0.8, "none": 0.2}


def test_of_a_peak_that_no_rollup_is_of_nobody_knows_the_parts() -> None:
    assert peak_shares(demand_peak(PEAK, {}), PART["pool"]).ratios == {}


async def test_a_statement_shows_who_drew_the_peak_of_its_month() -> None:
    index, store = site(), MemoryStore()
    begins = instant("2026-10-01")
    # n1 draws 0.667, n2 0.167 of their joules; the second quarter hour is the peak.
    starts = range(begins, begins + 4 * 900, 900)
    await fill(store, index, starts, {begins + 900: 9_000_000.0})
    window = begins, begins + 4 * 900
    found = statement(account(index, window, await read_sources(store, index, window)), "pool")
    (peak,) = found.peaks
    assert (peak.charge, peak.kw) == ("peak 2026-10", Decimal(10))
    # The month goes on, and a new peak would state it again.
    assert found.account.provisional
    assert "status    open, provisional" in as_table(found).splitlines()
    assert peak.begins_seconds == begins + 900
    assert peak.ratios == pytest.approx({"chat": 20 / 23, "spare": 3 / 23})
    assert document(found)["peaks"] == [
        {
            "charge": "peak 2026-10",
            "begins": "2026-09-30T22:15:00Z",
            "mean_watts": 10_000.0,
            "ratios": peak.ratios,
        }
    ]
    assert "  peak 2026-10  2026-10-01 00:15 +0200  10.000  86.96%  13.04%" in as_table(found)
