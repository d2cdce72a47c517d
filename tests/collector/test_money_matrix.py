"""The matrix of cost: all of it sums to the bill exactly, and goes by what was measured."""

from decimal import Decimal, localcontext
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.money import matrix
from meterhouse_collector.money.exact import total
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.rollup.cells import ZEROS, Cell, weights

MONEY = st.decimals(Decimal(-(10**12)), Decimal(10**12), places=6)
WEIGHT = st.one_of(st.just(0.0), st.floats(1e-9, 1e15), st.integers(0, 10**18))
STATE = st.sampled_from(wire.STATES)
GROUP = st.tuples(STATE, st.sampled_from(("a", "b", "none")), st.sampled_from(("m", "n", "o")))
BILL = st.dictionaries(st.sampled_from(KINDS), MONEY)


@given(MONEY, st.dictionaries(st.integers(), WEIGHT, min_size=1))
def test_parts_of_an_amount_sum_to_it_exactly(money: Decimal, weights: dict[int, float]) -> None:
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    parts = matrix.allocate(money, weights)
    assert total(parts.values()) == money
    assert parts.keys() == weights.keys()
    assert all(part == 0 for key, part in parts.items() if weights[key] == 0)
    assert all(part * money >= 0 for part in parts.values())


def test_rest_of_a_division_goes_to_the_largest_weight() -> None:
    parts = matrix.allocate(Decimal(100), {"a": 1, "b": 1, "c": 1})
    assert parts["b"] == parts["c"] == Decimal("33.333333333333333333333333")
    assert parts["a"] == Decimal("33.333333333333333333333334")
    parts = matrix.allocate(Decimal(1), {"a": 1, "b": 5})
    assert parts["a"] == Decimal("0.166666666666666666666666")


def test_context_of_the_caller_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        parts = matrix.allocate(Decimal("123456.789"), {"a": 1, "b": 2})
    assert total(parts.values()) == Decimal("123456.789")


def test_amount_without_any_weight_is_an_error_and_nothing_needs_none() -> None:
    with pytest.raises(ValueError, match="nothing to be split by"):
        matrix.allocate(Decimal(1), {"a": 0})
    assert matrix.allocate(Decimal(0), {"a": 0}) == {"a": 0}
    with pytest.raises(ValueError, match="weight of a nan"):
        matrix.allocate(Decimal(1), {"a": float("nan"), "b": 1})
    with pytest.raises(ValueError, match="weight of b -1"):
        matrix.allocate(Decimal(1), {"a": 1, "b": -1})


@given(BILL, st.dictionaries(GROUP, WEIGHT), st.dictionaries(GROUP, WEIGHT))
def test_matrix_over_states_tenants_and_models_sums_to_the_bill(
    bill: dict[str, Decimal],
    seconds: dict[tuple[str, str, str], float],
    joules: dict[tuple[str, str, str], float],
) -> None:
    found = matrix.cost_matrix(kind_money=bill, group_seconds=seconds, group_joules=joules)
    assert found.total_money == total(bill.values())
    for kind, money in bill.items():
        parts = [part for (of_kind, _), part in found.cells.items() if of_kind == kind]
        assert total((*parts, found.unattributed.get(kind, Decimal(0)))) == money


@given(BILL, st.dictionaries(STATE, WEIGHT), st.dictionaries(STATE, WEIGHT))
def test_stack_sums_to_the_bill_and_its_lines_to_the_cent(
    bill: dict[str, Decimal], seconds: dict[str, float], joules: dict[str, float]
) -> None:
    found = matrix.cost_matrix(kind_money=bill, group_seconds=seconds, group_joules=joules)
    whole = total(bill.values())
    assert total(matrix.stacked(found).values()) == whole
    assert total(matrix.stacked_lines(found, "EUR").values()) == round_total(whole, "EUR")


@given(st.dictionaries(STATE, WEIGHT, min_size=1), MONEY, MONEY)
def test_parts_of_parts_still_sum(
    seconds: dict[str, float], money: Decimal, other: Decimal
) -> None:
    first = matrix.cost_matrix(
        kind_money={"rent": money, "capital": other},
        group_seconds=seconds,
        group_joules=seconds,
    )
    split = [matrix.allocate(cell, {"a": 1, "b": 2, "c": 4}) for cell in first.cells.values()]
    parts = total(part for cell in split for part in cell.values())
    assert total((parts, *first.unattributed.values())) == total((money, other))


def test_half_idle_at_100_watts_against_700_has_an_eighth_of_the_energy() -> None:
    found = matrix.cost_matrix(
        kind_money={"energy": Decimal(100), "demand": Decimal(8), "rent": Decimal(10)},
        group_seconds={"active": 1800, "held_idle": 1800},
        group_joules={"active": 700 * 1800, "held_idle": 100 * 1800},
    )
    assert found.cells["energy", "held_idle"] == Decimal("12.5")
    assert found.cells["demand", "held_idle"] == 1
    assert found.cells["rent", "held_idle"] == 5


def test_stack_is_kinds_of_active_then_the_other_states() -> None:
    seconds: dict[str, int] = dict.fromkeys(wire.STATES, 1)
    joules = {"active": 1}
    found = matrix.cost_matrix(
        kind_money={"energy": 8, "capital": 5}, group_seconds=seconds, group_joules=joules
    )
    assert list(matrix.stacked(found)) == [
        "active_capital_money",
        "active_energy_money",
        "held_idle_money",
        "free_money",
        "unhealthy_money",
        "unknown_money",
        "unattributed_money",
    ]


def test_kind_that_is_not_billed_is_not_a_cost_of_zero() -> None:
    found = matrix.cost_matrix(kind_money={}, group_seconds={"free": 1}, group_joules={"free": 1})
    assert found.cells == {}


def test_devices_that_say_more_than_their_node_spread_nothing() -> None:
    found = matrix.node_state_joules(
        node_joules=90, device_joules={"active": 100}, device_seconds={"active": 1, "free": 1}
    )
    assert found.state_joules == {"active": 100}
    assert found.rest_joules == -10


FIVE = st.tuples(*(st.floats(0, 1e9, allow_subnormal=False) for _ in wire.STATES))


@given(FIVE, FIVE, st.floats(0, 1e9))
def test_the_rest_of_a_node_is_spread_as_rollups_spread_it(
    joules: tuple[float, float, float, float, float],
    seconds: tuple[float, float, float, float, float],
    rest_joules: float,
) -> None:
    whole = fsum(joules) + rest_joules
    formula = matrix.node_state_joules(
        node_joules=whole,
        device_joules=dict(zip(wire.STATES, joules, strict=True)),
        device_seconds=dict(zip(wire.STATES, seconds, strict=True)),
    )
    (rolled,) = weights([Cell((), seconds, joules, None, unmetered=False)], whole)
    found = [float(formula.state_joules.get(state, 0)) for state in wire.STATES]
    # What neither seconds nor joules say belongs to no state.
    expected = rolled if any(joules) or any(seconds) else ZEROS
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)


SHARES = st.dictionaries(st.sampled_from(("a", "b", "c", "spare")), st.tuples(MONEY, WEIGHT))


@given(SHARES)
def test_loaded_pools_cost_what_all_pools_cost(pools: dict[str, tuple[Decimal, float]]) -> None:
    found = matrix.loaded_cost(
        pool_money={pool: money for pool, (money, _) in pools.items()},
        pool_seconds={pool: seconds for pool, (_, seconds) in pools.items()} | {"a": 1, "b": 0},
        serving=("a", "b"),
    )
    loaded = total(pool.loaded_money for pool in found.pools.values())
    assert total((loaded, found.unattributed_money)) == total(m for m, _ in pools.values())


def test_cost_of_spare_pools_without_a_serving_one_is_unattributed() -> None:
    found = matrix.loaded_cost(pool_money={"spare": 7}, pool_seconds={"spare": 1}, serving=())
    assert found == matrix.LoadedCost({}, Decimal(7))
    with pytest.raises(ValueError, match="no installed device-seconds of spare"):
        matrix.loaded_cost(pool_money={"spare": 7}, pool_seconds={}, serving=())


@given(SHARES, MONEY)
def test_cost_by_served_model_sums_to_the_pool(
    models: dict[str, tuple[Decimal, float]], overhead: Decimal
) -> None:
    found = matrix.served_model_cost(
        held_money={model: money for model, (money, _) in models.items()},
        held_seconds={model: seconds for model, (_, seconds) in models.items()},
        overhead_money=overhead,
    )
    assert total(found.values()) == total((overhead, *(money for money, _ in models.values())))


def test_model_of_unknown_engines_has_its_share_of_the_overhead() -> None:
    found = matrix.served_model_cost(
        held_money={"a": 6, matrix.UNATTRIBUTED: 2},
        held_seconds={"a": 3, matrix.UNATTRIBUTED: 1},
        overhead_money=4,
    )
    assert found == {"a": 9, matrix.UNATTRIBUTED: 3}
    with pytest.raises(ValueError, match="no held device-seconds of a"):
        matrix.served_model_cost(held_money={"a": 6}, held_seconds={}, overhead_money=4)
