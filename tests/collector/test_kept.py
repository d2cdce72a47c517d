"""What kept rollups cost: priced by the bill of their month, and re-rated with a history."""

from decimal import Decimal
from math import fsum, isclose
from zoneinfo import ZoneInfo

import pytest

from meterhouse_agent import wire
from meterhouse_collector.money.billing_month import billing_month
from meterhouse_collector.money.energy import JOULES_PER_KWH
from meterhouse_collector.quarters.settle import Settlement, settle_quarters
from meterhouse_collector.rows import Point
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.store import Store
from tests.collector.collecting import index
from tests.collector.settling import FIRST, STEP, inventories, rows_of, told

QUARTER = 900
HARDWARE = """
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 36500
life = "3650d"
"""
ENERGY = """
[[tariff]]
per_kwh = 0.25
valid_from = 2020-01-01
"""
DEMAND = """
[[tariff]]
name = "network"
valid_from = 2020-01-01
[[tariff.component]]
kind = "demand"
name = "peak"
per_kw = 15
"""


def starts(count: int = 4) -> list[int]:
    return [FIRST + number * QUARTER for number in range(count)]


async def reported(store: Store, quarters: list[int], *, joules: float = 6000.0) -> None:
    """Write what a steady site reports in some quarters."""
    entries = [
        told(node, at, joules=joules)
        for start in quarters
        for at in range(start, start + QUARTER, STEP)
        for node in ("node-1", "node-2")
    ]
    await store.write([*inventories(), *rows_of(entries)])


async def kept(store: Store, measurement: str = "rollup") -> dict[int, list[Point]]:
    """Return kept points by the start of their quarter."""
    points = await store.points("kept", measurement, start_seconds=0, end_seconds=2**33)
    by_start: dict[int, list[Point]] = {}
    for point in points:
        by_start.setdefault(point.start_seconds, []).append(point)
    return by_start


def total(points: list[Point], kind: str) -> float:
    names = [f"{state}_{kind}_money" for state in wire.STATES]
    return fsum(float(point.fields[name]) for point in points for name in names)


def peak_kw(joules: float) -> float:
    """Return the mean power that the boundary meter shows in a steady quarter."""
    return joules * 5 / STEP / 1000


async def test_a_demand_charge_is_spread_over_its_month_and_a_new_peak_restates_it(
    store: Store,
) -> None:
    site = index(HARDWARE, ENERGY, DEMAND)
    zone = ZoneInfo(site.model.time_zone)
    pairs = [(one, one + QUARTER) for one in (FIRST, FIRST + 2 * QUARTER)]
    first, second = next(pair for pair in pairs if billing_month(pair[0], zone).ends != pair[1])
    month = billing_month(first, zone)
    await reported(store, [first])
    await settle_quarters(store, site, [first])
    before = await kept(store)
    assert total(before[first], "demand") == pytest.approx(15 * peak_kw(6000) / month.quarters)
    await reported(store, [second], joules=12000.0)
    await settle_quarters(store, site, [second])
    after = await kept(store)
    for start in (first, second):
        assert total(after[start], "demand") == pytest.approx(15 * peak_kw(12000) / month.quarters)
    assert total(after[first], "energy") == total(before[first], "energy")
    assert await kept(store, "rollup_history") == {}


async def test_rerating_keeps_what_was_there_and_twice_is_once(store: Store) -> None:
    quarters = starts()
    cheap, dear = (index(HARDWARE.replace("36500", price), ENERGY) for price in ("36500", "73000"))
    await reported(store, quarters)
    await settle_quarters(store, cheap, quarters)
    before = await kept(store)
    told_counts: list[int] = []
    await Settlement(store, dear).rerate(quarters, told_counts.append)
    assert told_counts == [1, 2, 3, 4]
    after, history = await kept(store), await kept(store, "rollup_history")
    for start in quarters:
        assert total(after[start], "capital") == pytest.approx(2 * total(before[start], "capital"))
        assert total(history[start], "capital") == total(before[start], "capital")
        assert {dict(point.tags)["revision"] for point in history[start]} == {"0"}
        assert {point.fields["revision"] for point in after[start]} == {1.0}
    physics = [name for name in before[FIRST][0].fields if not name.endswith(("money", "revision"))]
    assert [[p.fields[n] for n in physics] for p in after[FIRST]] == [
        [p.fields[n] for n in physics] for p in before[FIRST]
    ]
    await Settlement(store, dear).rerate(quarters, told_counts.append)
    assert await kept(store) == after
    assert await kept(store, "rollup_history") == history


async def test_late_rows_replace_money_without_a_history(store: Store) -> None:
    site = index(HARDWARE, ENERGY)
    await reported(store, starts(1))
    await settle_quarters(store, site, starts(1))
    await reported(store, starts(1), joules=9000.0)
    await settle_quarters(store, site, starts(1))
    points = (await kept(store))[FIRST]
    assert {point.fields["revision"] for point in points} == {0.0}
    assert await kept(store, "rollup_history") == {}


async def test_a_price_that_comes_later_gives_what_served_a_cost(store: Store) -> None:
    unpriced = index(HARDWARE)
    await reported(store, starts(1))
    await settle_quarters(store, unpriced, starts(1))
    before = (await kept(store))[FIRST]
    assert fsum(float(p.fields["serving_output_tokens"]) for p in before) == 0
    priced = index(HARDWARE, ENERGY)
    await Settlement(store, priced).rerate(starts(1), lambda _: None)
    after = (await kept(store))[FIRST]
    assert fsum(float(p.fields["serving_output_tokens"]) for p in after) > 0
    site = next(p for p in after if dict(p.tags)["pool"] == "none")
    assert isclose(total(after, "energy"), float(site.fields["due_energy_money"]), rel_tol=1e-12)


TIER = """
[[tariff]]
name = "grid"
valid_from = 2020-01-01
[[tariff.component]]
kind = "tier"
name = "step"
step = [{ per_kwh = 0.25 }]
"""


async def test_a_price_that_only_the_month_knows_gives_what_served_a_cost(store: Store) -> None:
    site = index(HARDWARE, TIER)
    assert site.price_per_joule(FIRST) is None
    await reported(store, starts(1))
    await settle_quarters(store, site, starts(1))
    points = (await kept(store))[FIRST]
    assert total(points, "energy") > 0
    assert fsum(float(p.fields["serving_money"]) for p in points) > 0
    assert fsum(float(p.fields["serving_output_tokens"]) for p in points) > 0
    assert fsum(float(p.fields["unpriced_seconds"]) for p in points) == 0


async def test_live_price_of_a_tier_follows_what_is_kept_of_its_month(store: Store) -> None:
    two = index(HARDWARE, TIER.replace("{ per", "{ up_to_kwh = 0.5, per_kwh = 0.4 }, { per"))
    month = billing_month(FIRST, ZoneInfo(two.model.time_zone))
    first = month.begins
    quarters = [first + number * QUARTER for number in range(4)]
    book = RateBook(two, clock=lambda: first + 4 * QUARTER)

    def price(start: int) -> float | None:
        found = two.price_per_joule(start, book.at(start).month_kwh)
        return None if found is None else round(found * JOULES_PER_KWH, 9)

    await book.hear(store, ())
    assert price(first) == 0.4
    # The first quarters may still wait for late rows; then it is not known what there was.
    assert price(first + 3 * QUARTER) == 0.4
    assert price(first + 4 * QUARTER) is None
    await reported(store, quarters)
    settled = await settle_quarters(store, two, quarters)
    await book.hear(store, settled.records)
    # 5 * 6 kJ in each interval of 60 s are 0.125 kWh in a quarter.
    assert 4 * peak_kw(6000) / 4 == pytest.approx(0.5)
    assert price(quarters[-1] + QUARTER) == 0.25
    assert price(quarters[-1] + 3 * QUARTER) == 0.25
    assert price(quarters[-1] + 9 * QUARTER) is None
    assert price(month.ends) == 0.4
    late = month.ends + 4 * QUARTER
    assert price(late) is None
    reason = two.why_no_price(late, book.at(late).month_kwh)
    assert reason == "step: the month's import so far is not known"


async def test_a_quarter_that_was_not_kept_leaves_the_price_of_a_tier_unknown(
    store: Store,
) -> None:
    site = index(HARDWARE, TIER)
    month = billing_month(FIRST, ZoneInfo(site.model.time_zone))
    quarters = [month.begins + number * QUARTER for number in (0, 2, 3, 4, 5, 6)]
    await reported(store, quarters)
    settled = await settle_quarters(store, site, quarters)
    now = quarters[-1] + QUARTER
    book = RateBook(site, clock=lambda: now)
    await book.hear(store, settled.records)
    assert site.price_per_joule(now, book.at(now).month_kwh) is None


async def test_rent_and_operations_accrue_with_the_register(store: Store) -> None:
    operations = """
[[operations]]
name = "people"
kind = "staff"
amount = 8760
per = "year"
valid_from = 2020-01-01
"""
    await reported(store, starts(1))
    await settle_quarters(store, index(HARDWARE, ENERGY, operations), starts(1))
    points = (await kept(store))[FIRST]
    days = 366 if _leap(FIRST) else 365
    hourly = Decimal(8760) / (days * 24)
    assert total(points, "operations") == pytest.approx(float(hourly) / 4)


def _leap(start: int) -> bool:
    year = billing_month(start, ZoneInfo("UTC")).year
    return year % 4 == 0
