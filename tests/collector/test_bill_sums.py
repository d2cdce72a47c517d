"""What must hold of any bill: quarter hours sum to lines, and halves of import to the whole."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_collector.money.bill_lines import NoAmount, QuarterEnergy
from meterhouse_collector.money.decimals import add, even_share, exact, kwh_from_joules
from meterhouse_collector.money.exact import signed
from meterhouse_collector.money.unit_prices import live_price_per_kwh
from tests.collector.bills import BERLIN, instant, lines, quarters, tariff

FLAT = {"kind": "energy", "per_kwh": "0.25"}
FIXED = {"kind": "fixed", "per_month": "100"}
NIGHT = {"kind": "time_of_use", "per_kwh": "0.1", "from_time": "22:00", "to_time": "06:00"}
DAY = {"kind": "time_of_use", "per_kwh": "0.3", "from_time": "06:00", "to_time": "22:00"}
TIER = {
    "kind": "tier",
    "step": [
        {"up_to_kwh": 10, "per_kwh": "0.1"},
        {"up_to_kwh": 20, "per_kwh": "0.2"},
        {"per_kwh": 1},
    ],
}
DEMAND = {"kind": "demand", "per_kw": 15}
ALL = (
    FLAT,
    FIXED,
    NIGHT,
    DAY,
    TIER,
    DEMAND,
    {"kind": "contracted", "per_kva": "1.7", "kva": 1300},
    {"kind": "levy", "per_cent": 19, "of": ["energy", "tier", "demand", "contracted"]},
)
KWH = st.decimals(min_value=0, max_value=10**6, places=6)


@settings(max_examples=20, deadline=None)
@given(st.lists(KWH, min_size=96, max_size=96))
def test_month_of_every_line_is_the_sum_of_its_quarter_hours(kwh: list[Decimal]) -> None:
    begins = instant("2026-03-01")
    of = quarters("2026-03-01", "2026-04-01", lambda start: kwh[(start - begins) // 900 % 96])
    found = lines(of, tariff(*ALL))
    consumed = [kwh[i % 96] for i in range(len(of))]
    peak = max(consumed) * 4
    assert found["energy"].total == add(consumed) * Decimal("0.25")
    assert found["fixed"].total == 100
    assert found["demand"].total == peak * 15
    assert found["contracted"].total == 2210
    tiers = add(consumed)
    steps = min(tiers, Decimal(10)) / 10, min(max(tiers - 10, Decimal(0)), Decimal(10)) / 5
    assert found["tier"].total == add(steps) + max(tiers - 20, Decimal(0))
    base = [found[name].total for name in ("energy", "tier", "demand", "contracted")]
    whole = add(total for total in base if total is not None) * Decimal("0.19")
    assert found["levy"].total == whole


@given(st.lists(st.tuples(KWH, KWH), min_size=1, max_size=100))
def test_two_halves_of_import_cost_what_the_whole_does(
    parts: list[tuple[Decimal, Decimal]],
) -> None:
    begins = instant("2026-10-25T01:00")
    levy = {"kind": "levy", "per_cent": 19, "of": ["energy", "time_of_use"]}
    linear = tariff(FLAT, NIGHT, DAY, levy)

    def cost(pick: int | None) -> list[Decimal | None]:
        of = [
            QuarterEnergy(
                start_seconds=begins + 900 * i, import_kwh=add(p) if pick is None else p[pick]
            )
            for i, p in enumerate(parts)
        ]
        return [line.total for line in lines(of, linear).values()]

    halves = zip(cost(0), cost(1), strict=True)
    assert cost(None) == [add(v for v in pair if v is not None) for pair in halves]


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6), st.integers(1, 500))
def test_even_shares_sum_to_the_amount(amount: Decimal, parts: int) -> None:
    shares = [even_share(amount, index, parts) for index in range(parts)]
    assert add(shares) == amount
    assert max(shares) - min(shares) <= Decimal("1e-29")


def test_part_beyond_the_last_is_turned_down() -> None:
    with pytest.raises(ValueError, match="allowed: 0 to 3"):
        even_share(Decimal(1), 4, 4)


@given(st.floats(min_value=0, max_value=1e15))
def test_kwh_of_joules_is_exact_to_50_digits(joules: float) -> None:
    kwh, written = kwh_from_joules(joules), Decimal(str(joules))
    assert abs(kwh * 3_600_000 - written) <= abs(written) * Decimal("1e-27")


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_a_float_is_the_decimal_that_it_is_written_as(amount: Decimal) -> None:
    assert exact(float(amount)) == signed("amount", float(amount)) == amount


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_joules_that_are_no_number_are_turned_down(wrong: float) -> None:
    with pytest.raises(ValueError, match="allowed: a finite number"):
        kwh_from_joules(wrong)


def test_live_price_is_that_of_the_instant_with_its_levies() -> None:
    levy = {"kind": "levy", "per_cent": 20, "of": ["time_of_use", "energy", "demand"]}
    components = tariff(NIGHT, DAY, FLAT, FIXED, DEMAND, levy).components
    assert live_price_per_kwh(components, instant("2026-01-05T05:59"), BERLIN) == Decimal("0.42")
    assert live_price_per_kwh(components, instant("2026-01-05T06:00"), BERLIN) == Decimal("0.66")


def test_live_price_of_a_tier_follows_the_month() -> None:
    components = tariff(TIER).components
    now = instant("2026-01-05")
    assert live_price_per_kwh(components, now, BERLIN, Decimal("9.9")) == Decimal("0.1")
    assert live_price_per_kwh(components, now, BERLIN, Decimal(10)) == Decimal("0.2")
    assert live_price_per_kwh(components, now, BERLIN, Decimal(99)) == 1
    assert isinstance(live_price_per_kwh(components, now, BERLIN), NoAmount)
