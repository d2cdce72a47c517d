"""Cost per token, request and task, and what is sold: every quotient names its denominator."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money import cost, margin
from meterhouse_collector.money.cost import TaskInterval
from meterhouse_collector.money.exact import total
from meterhouse_collector.money.margin import TokenPrice, TokenSale

MONEY = st.decimals(0, 10**9, places=6)
TOKENS = st.integers(1, 10**15)


def number(found: Reasoned) -> Decimal:
    assert isinstance(found.value, Decimal)
    return found.value


def test_trap_4_9_no_tokens_have_no_cost_but_idle_capacity_has() -> None:
    found = cost.token_costs(
        cost_money=5,
        input_tokens=0,
        cached_input_tokens=0,
        output_tokens=0,
        idle_money=Decimal("4.5"),
    )
    assert found[:3] == (None, None, None)
    assert found.idle_money == Decimal("4.5")
    assert found.reason is not None
    assert found.reason.endswith("idle capacity cost 4.5")


def test_trap_4_9_cached_tokens_are_not_computed() -> None:
    found = cost.token_costs(
        cost_money=9,
        input_tokens=8000,
        cached_input_tokens=6400,
        output_tokens=1000,
        idle_money=0,
    )
    every, computed = found.money_per_million_tokens, found.money_per_million_computed_tokens
    assert every is not None
    assert computed is not None
    assert computed / every == pytest.approx(Decimal("3.5"), abs=Decimal("0.05"))


def test_all_input_from_a_cache_and_no_output_leaves_nothing_computed() -> None:
    found = cost.token_costs(
        cost_money=9, input_tokens=8, cached_input_tokens=8, output_tokens=0, idle_money=1
    )
    assert found.money_per_million_tokens == 1_125_000
    assert found.money_per_million_computed_tokens is None
    assert found.reason == "no output tokens, no computed tokens; idle capacity cost 1"


@given(MONEY, MONEY, TOKENS, TOKENS)
def test_cost_of_two_windows_is_the_ratio_of_sums(
    one: Decimal, other: Decimal, first: int, second: int
) -> None:
    def per_million(money: Decimal, tokens: int) -> Decimal:
        found = cost.cost_per_million_trained_tokens(
            cost_money=money, trained_tokens=tokens, idle_money=0
        )
        return number(found)

    both = per_million(one + other, first + second)
    costs = (per_million(one, first), per_million(other, second))
    # Of the 50 digits that a division keeps, the last few are its own.
    with localcontext(prec=60):
        slack = max(costs) * Decimal("1e-45")
        assert min(costs) - slack <= both <= max(costs) + slack


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99), MONEY)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 99)),
    st.integers(1, 98),
)
def test_each_completed_task_is_counted_once_with_all_it_cost(
    intervals: list[tuple[str, int, Decimal]], completed: dict[str, int], cut: int
) -> None:
    # Nothing is allocated to a task after it completed.
    worked = [
        TaskInterval(task, min(ends, completed.get(task, 99)), money)
        for task, ends, money in intervals
    ]
    windows = ((0, cut), (cut, 100))
    found = [
        cost.task_cost(
            intervals=worked, completed_seconds=completed, begins_seconds=b, ends_seconds=e
        )
        for b, e in windows
    ]
    assert found[0].task_money.keys().isdisjoint(found[1].task_money)
    assert found[0].task_money.keys() | found[1].task_money.keys() == completed.keys()
    counted = total(money for each in found for money in each.task_money.values())
    in_progress = total(found[1].in_progress_money.values())
    assert counted + in_progress == total(interval[2] for interval in intervals)


def test_failed_attempt_is_in_the_cost_of_its_task_and_the_open_task_is_not() -> None:
    found = cost.task_cost(
        intervals=[TaskInterval("a", 1, 3), TaskInterval("a", 5, 4), TaskInterval("b", 5, 9)],
        completed_seconds={"a": 5},
        begins_seconds=4,
        ends_seconds=6,
    )
    assert found.unit_money == 7
    assert found.in_progress_money == {"b": 9}


def test_prices_hold_from_their_date_on() -> None:
    prices = [TokenPrice("output", 10, 2), TokenPrice("output", 20, 3)]
    sales = [TokenSale("output", at, 1_000_000) for at in (10, 19, 20, 99)]
    found = margin.token_revenue(sales=sales, prices=prices)
    assert found.revenue_money == 2 + 2 + 3 + 3
    early = margin.token_revenue(sales=[TokenSale("output", 9, 5)], prices=prices)
    assert early.revenue_money is None
    assert early.unpriced_tokens == {"output": 5}
    with pytest.raises(ValueError, match="two prices of output from 10"):
        margin.token_revenue(sales=[], prices=[prices[0], TokenPrice("output", 10, 4)])


def test_trap_4_15_markup_of_545_percent_is_a_margin_of_84_point_5() -> None:
    income, spent = Decimal(1000), Decimal(155)
    found = margin.gross_margin_ratio(revenue_money=income, cost_money=spent)
    assert number(found) == Decimal("0.845")
    markup = number(margin.markup_ratio(revenue_money=income, cost_money=spent))
    assert round(markup, 3) == Decimal("5.452")


@given(MONEY.filter(bool), MONEY.filter(bool))
def test_markup_is_margin_over_what_is_not_margin(income: Decimal, spent: Decimal) -> None:
    profit = number(margin.gross_margin_ratio(revenue_money=income, cost_money=spent))
    markup = number(margin.markup_ratio(revenue_money=income, cost_money=spent))
    assert profit <= 1
    assert markup >= -1
    assert (1 - profit) * (1 + markup) == pytest.approx(Decimal(1), rel=Decimal("1e-20"))


def test_quotients_without_a_denominator_say_why() -> None:
    assert margin.markup_ratio(revenue_money=1, cost_money=0).reason == "no cost"
    dear = margin.commitment_break_even_ratio(committed_money_per_hours=3, list_money_per_hours=2)
    assert dear == Reasoned(Decimal("1.5"), "above 1: dearer than the list at any use")
    none = margin.break_even_utilization_ratio(
        cost_money_per_hours=1, price_money_per_million_tokens=0, saturated_tokens_per_seconds=9
    )
    assert none.value is None
    same = cost.underutilization_penalty_ratio(
        money_per_million_tokens=1, saturated_money_per_million_tokens=0
    )
    assert same.reason == "no cost at saturation to compare with"
