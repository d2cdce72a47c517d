"""Windows: the sums of their quarters, live ones where those are not kept, and what is missing."""

from datetime import UTC, datetime
from math import fsum
from typing import Any

import pytest

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.quarters.windows import (
    DaySums,
    Stretch,
    named_windows,
    window_kpis,
    window_sums,
)
from meterhouse_collector.rollup.points import live_point
from meterhouse_collector.rollup.roll_up import add_sums, roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import Point, Row
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store import Store
from meterhouse_collector.store.overlay import OverlayStore
from tests.collector.collecting import SITE
from tests.collector.settling import FIRST, KNOWN, STEP, rows_of, told

INSTALLED = 4
STAFF = """
[[operations]]
name = "people"
kind = "staff"
amount = 8760
per = "year"
valid_from = 2020-01-01
"""


def _year_seconds() -> int:
    year = datetime.fromtimestamp(FIRST, UTC).year
    begins, ends = (datetime(each, 1, 1, tzinfo=UTC).timestamp() for each in (year, year + 1))
    return int(ends - begins)


async def bring(store: Store, start: int, end: int) -> None:
    """Write what all nodes report in a time, in the ledger and live."""
    for begins in range(start, end, STEP):
        entries = [told(node, begins) for node in ("node-1", "node-2")]
        nodes = {entry.node: entry.node_row for entry in entries if entry.node_row is not None}
        first = entries[0]
        sums = roll_up(IntervalRows(begins, STEP, nodes, first.meters, first.engines), KNOWN)
        rows: list[Row] = [live_point(group, fields, begins) for group, fields in sums.items()]
        assert await store.write([*rows_of(entries), *rows]) == []


async def whole(store: Store, start: int, end: int) -> dict[str, float]:
    found = await window_sums(store, KNOWN, start, end)
    assert all(set(sums) == set(ROLLUP_FIELD_NAMES) for sums in found.values())
    return add_sums(found.values())


async def test_a_window_is_the_sum_of_its_quarters_and_of_the_running_one(store: Store) -> None:
    end = FIRST + 4 * 900 + 600
    await bring(store, FIRST, end)
    live = await whole(store, FIRST + 2 * 900, end)
    await settle_quarters(store, KNOWN, [FIRST + k * 900 for k in range(3)])
    sums = await whole(store, FIRST, end)
    assert sums["interval_seconds"] == 4 * 900 + 600
    assert sums["installed_seconds"] == INSTALLED * (4 * 900 + 600)
    assert sums["unknown_seconds"] == 0
    part = await whole(store, FIRST + 2 * 900, end)
    assert {n: part[n] for n in part if "money" not in n} == pytest.approx(
        {n: live[n] for n in live if "money" not in n}, rel=1e-9
    )
    kept = await whole(store, FIRST, FIRST + 2 * 900)
    assert kept["interval_seconds"] == 1800


async def test_a_quarter_that_is_missing_is_unknown(store: Store) -> None:
    await bring(store, FIRST, FIRST + 900)
    await settle_quarters(store, KNOWN, [FIRST])
    begins = FIRST - 10 * 900
    sums = await whole(store, begins, FIRST + 900)
    assert sums["installed_seconds"] == INSTALLED * 11 * 900
    assert sums["unknown_seconds"] == INSTALLED * 10 * 900
    assert sums["interval_seconds"] == 11 * 900
    kpis = await window_kpis(store, KNOWN, Stretch(begins, FIRST + 900))
    assert kpis["idle_capacity_ratio"].value is None
    assert kpis["idle_capacity_ratio"].coverage == pytest.approx(1 / 11)
    covered = await window_kpis(store, KNOWN, Stretch(FIRST, FIRST + 900))
    assert covered["idle_capacity_ratio"].value == pytest.approx(0.25)
    assert covered["idle_capacity_ratio"].coverage == 1.0


async def test_a_quarter_that_is_missing_still_costs_what_accrues_by_contract(store: Store) -> None:
    staff = SITE + STAFF
    site = SiteIndex(parse_site(staff, "site.toml"))
    for start, end in ((FIRST, FIRST + 900), (FIRST, FIRST + 4 * 900)):
        sums = add_sums((await window_sums(store, site, start, end)).values())
        operations = fsum(sums[f"{state}_operations_money"] for state in wire.STATES)
        assert operations == pytest.approx(8760 / _year_seconds() * (end - start))


async def test_live_intervals_that_are_missing_are_unknown(store: Store) -> None:
    await bring(store, FIRST, FIRST + 300)
    await bring(store, FIRST + 600, FIRST + 900)
    sums = await whole(store, FIRST, FIRST + 900)
    assert sums["unknown_seconds"] == INSTALLED * 300
    silent = await whole(store, FIRST, FIRST + 1800)
    assert silent["unknown_seconds"] == INSTALLED * 1200
    nothing = await whole(store, FIRST + 3600, FIRST + 3600)
    assert set(nothing.values()) == {0.0}


def values(found: dict[str, KpiValue]) -> dict[str, float]:
    """Return all numbers of KPIs by name."""
    return {
        f"{name} {field}": value
        for name, one in found.items()
        for field in ("value", "low", "high", "numerator", "denominator", "coverage")
        if (value := getattr(one, field)) is not None
    }


def same(numbers: dict[str, float]) -> Any:  # noqa: ANN401 - what approx returns
    return pytest.approx(numbers, rel=1e-12)


async def test_days_that_were_read_before_change_nothing_and_are_read_once(store: Store) -> None:
    day = FIRST // 86_400 * 86_400
    quarters = [day + 86_400 * k + 900 * n for k in range(3) for n in (0, 40, 95)]
    for start in quarters:
        await bring(store, start, start + 900)
    await settle_quarters(store, KNOWN, quarters)
    days = DaySums()
    window = Stretch(day - 2700, day + 3 * 86_400 + 1000)
    alone = values(await window_kpis(store, KNOWN, window))
    for _ in range(2):
        assert values(await window_kpis(store, KNOWN, window, days)) == same(alone)
    late = day + 86_400 + 900 * 50
    await bring(store, late, late + 900)
    settled = await settle_quarters(store, KNOWN, [late])
    assert values(await window_kpis(store, KNOWN, window, days)) == same(alone)
    days.changed(record.start_seconds for record in settled.records)
    after = values(await window_kpis(store, KNOWN, window, days))
    assert after == same(values(await window_kpis(store, KNOWN, window)))
    assert after != same(alone)
    with pytest.raises(ValueError, match="begin with a quarter"):
        await window_kpis(store, KNOWN, Stretch(day + 1, day + 900), days)


async def test_what_changes_while_a_day_is_read_is_read_again(store: Store) -> None:
    day = FIRST // 86_400 * 86_400
    days = DaySums()

    class Between(OverlayStore):
        """A store during whose answer a quarter is settled."""

        async def points(self, *asked: Any, **window: Any) -> list[Point]:  # noqa: ANN401 - those of the store
            found = await super().points(*asked, **window)
            if not settled:
                await bring(store, day, day + 900)
                settled.extend((await settle_quarters(store, KNOWN, [day])).records)
                days.changed(record.start_seconds for record in settled)
            return found

    settled: list[Record] = []
    first = await days.of(Between(store), KNOWN, day)
    assert first["unknown_seconds"] == INSTALLED * 86_400
    again = await days.of(store, KNOWN, day)
    assert again["unknown_seconds"] == INSTALLED * (86_400 - 900)


async def test_a_window_begins_with_a_quarter(store: Store) -> None:
    with pytest.raises(ValueError, match="begin with a quarter"):
        await window_sums(store, KNOWN, FIRST + 1, FIRST + 900)


def test_the_month_begins_in_the_time_of_the_site() -> None:
    now = datetime(2026, 3, 1, 2, 7, 30, tzinfo=UTC).timestamp()
    windows = named_windows(now, KNOWN)
    assert windows["month_to_date"] == Stretch(
        int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()), int(now)
    )
    assert now - 3600 - 900 < windows["hour"].start_seconds <= now - 3600
    assert {window.start_seconds % 900 for window in windows.values()} == {0}
    assert (
        windows["trailing_year"].end_seconds - windows["trailing_year"].start_seconds >= 31_536_000
    )
    kolkata = SiteIndex(parse_site(SITE.replace('"UTC"', '"Asia/Kolkata"'), "site.toml"))
    begins = named_windows(now, kolkata)["month_to_date"].start_seconds
    assert datetime.fromtimestamp(begins, UTC) == datetime(2026, 2, 28, 18, 30, tzinfo=UTC)
