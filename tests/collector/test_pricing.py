"""The part of the money that a bill decides: split by drawn joules, and re-stated at will."""

from collections.abc import Mapping
from math import fsum, isclose

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.rollup.pricing import DRAWN, Dues, Sums, priced, zero_sums
from meterhouse_collector.site.index import GroupKey

SITE = GroupKey("site")
POOLS = (GroupKey("site", pool="a"), GroupKey("site", pool="b"))
amounts = st.floats(0, 1e9)
money = st.floats(-1e6, 1e6)


def group(drawn: Mapping[str, float], **fields: float) -> Sums:
    """Return the sums of a group with joules drawn by state, and other fields."""
    return zero_sums() | {f"{state}_drawn_joules": j for state, j in drawn.items()} | fields


@st.composite
def groups(draw: st.DrawFn) -> dict[GroupKey, Sums]:
    """Draw a site with two pools, one of which serves with a part of what it drew."""
    found = {SITE: group({}, interval_seconds=900.0)}
    for name in POOLS:
        drawn: dict[str, float] = {state: draw(amounts) for state in wire.STATES}
        served = draw(st.floats(0, 1)) * fsum(drawn.values())
        accrued = draw(amounts)
        found[name] = group(drawn, serving_drawn_joules=served, serving_accrued_money=accrued)
    return found


dues = st.builds(Dues, money, amounts, amounts, amounts)


@given(groups(), dues)
def test_what_is_due_is_split_and_nothing_of_it_is_lost(
    sums: dict[GroupKey, Sums], due: Dues
) -> None:
    result = priced(sums, SITE, due)
    for kind in JOULES_KINDS:
        whole = fsum(g[f"{state}_{kind}_money"] for g in result.values() for state in wire.STATES)
        assert isclose(whole, getattr(due, kind), rel_tol=1e-9, abs_tol=1e-9)
        assert result[SITE][f"due_{kind}_money"] == getattr(due, kind)


@given(groups(), dues, dues)
def test_a_bill_that_is_known_better_leaves_no_trace_of_the_one_before(
    sums: dict[GroupKey, Sums], first: Dues, second: Dues
) -> None:
    assert priced(priced(sums, SITE, first), SITE, second) == priced(sums, SITE, second)


def test_half_idle_at_100_against_700_watts_carries_an_eighth_of_the_energy_bill() -> None:
    sums = {SITE: zero_sums(), POOLS[0]: group({"active": 700.0, "free": 100.0})}
    result = priced(sums, SITE, Dues(energy=8.0, demand=4.0))[POOLS[0]]
    assert (result["active_energy_money"], result["free_energy_money"]) == (7.0, 1.0)
    assert (result["active_demand_money"], result["free_demand_money"]) == (3.5, 0.5)


def test_what_is_due_while_nothing_was_drawn_is_the_sites_and_unknown() -> None:
    result = priced({POOLS[0]: zero_sums()}, SITE, Dues(energy=3.0, water=1.0))
    assert result[SITE]["unknown_energy_money"] == 3.0
    assert result[SITE]["unknown_water_money"] == 1.0
    assert all(result[POOLS[0]][f"{state}_energy_money"] == 0 for state in wire.STATES)


def test_serving_costs_what_accrued_and_its_part_of_all_that_is_due() -> None:
    sums = {
        SITE: zero_sums(),
        POOLS[0]: group({"active": 75.0}, serving_accrued_money=2.0, serving_drawn_joules=50.0),
        POOLS[1]: group({"free": 25.0}),
    }
    result = priced(sums, SITE, Dues(energy=6.0, demand=2.0))
    assert result[POOLS[0]]["serving_money"] == 2.0 + 8.0 / 2


def test_without_a_price_everything_is_unpriced_and_nothing_has_a_cost() -> None:
    serving = {"serving_output_tokens": 5.0, "engine_covered_seconds": 9.0}
    sums = {
        SITE: zero_sums() | {"interval_seconds": 900.0},
        POOLS[0]: group({"active": 1.0}, installed_seconds=9.0, **serving),
    }
    result = priced(sums, SITE, Dues(energy=None, demand=1.0))
    assert result[SITE]["unpriced_energy_seconds"] == 900.0
    assert result[POOLS[0]]["unpriced_seconds"] == 9.0
    assert result[POOLS[0]]["serving_output_tokens"] == result[POOLS[0]]["serving_money"] == 0
    assert result[POOLS[0]]["active_demand_money"] == 1.0
    assert tuple(result[POOLS[0]]) == tuple(zero_sums())
    assert set(DRAWN) <= set(zero_sums())
