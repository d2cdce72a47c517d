"""Capital and cash flows: what accrues by time adds up, and cash never meets an annuity."""

import inspect
from decimal import Decimal
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money import capital, cash_flow
from meterhouse_collector.money.cash_flow import CashFlow, Payment
from meterhouse_collector.money.exact import total

PRICE = st.decimals(0, 10**9, places=2)
INSTANT = st.integers(-(10**9), 10**10)
LIFE = st.integers(1, 10**9)
DAY = 86400


def accrued(begins: float, ends: float) -> Decimal:
    return capital.straight_line_money(
        price_money=1000,
        salvage_money=0,
        life_seconds=100,
        in_service_seconds=50,
        begins_seconds=begins,
        ends_seconds=ends,
    )


def test_nothing_accrues_before_service_or_after_the_end_of_life() -> None:
    assert accrued(0, 50) == 0
    assert accrued(0, 60) == 100
    assert accrued(140, 200) == 100
    assert accrued(150, 200) == 0
    assert accrued(0, 1000) == 1000


@given(PRICE, PRICE, LIFE, INSTANT, st.lists(INSTANT, min_size=2))
def test_windows_that_touch_add_up_exactly(
    one: Decimal, other: Decimal, life: int, service: int, instants: list[int]
) -> None:
    price, salvage = max(one, other), min(one, other)

    def accrue(begins: int, ends: int) -> Decimal:
        return capital.straight_line_money(
            price_money=price,
            salvage_money=salvage,
            life_seconds=life,
            in_service_seconds=service,
            begins_seconds=begins,
            ends_seconds=ends,
        )

    marks = sorted(instants)
    parts = [accrue(*pair) for pair in pairwise(marks)]
    assert total(parts) == accrue(marks[0], marks[-1])
    assert accrue(service - 1, service + life) == price - salvage


@given(PRICE, LIFE, st.integers(0, 10**9), st.integers(0, 10**9))
def test_waiting_and_service_together_cost_the_price_and_no_more(
    price: Decimal, life: int, waits: int, begins: int
) -> None:
    def accrue(window: tuple[int, int]) -> capital.CapitalAccrual:
        return capital.capital_accrual(
            price_money=price,
            salvage_money=0,
            life_seconds=life,
            delivered_seconds=0,
            in_service_seconds=waits,
            begins_seconds=window[0],
            ends_seconds=window[1],
        )

    parts = [*accrue((0, begins)), *accrue((begins, max(begins, life)))]
    assert total(parts) == price
    assert all(part >= 0 for part in parts)


def test_service_before_delivery_is_an_error() -> None:
    with pytest.raises(ValueError, match="in_service_seconds 5, allowed: from 6"):
        capital.capital_accrual(
            price_money=1,
            salvage_money=0,
            life_seconds=1,
            delivered_seconds=6,
            in_service_seconds=5,
            begins_seconds=0,
            ends_seconds=1,
        )


def test_window_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(ValueError, match="ends_seconds 1, allowed: from 2"):
        accrued(2, 1)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -0.01])
def test_price_that_is_none_is_an_error(price: float) -> None:
    with pytest.raises(ValueError, match=f"price_money {price}"):
        capital.annuity_year_money(
            price_money=price, salvage_money=0, interest_ratio=0.1, life_years=5
        )


@given(PRICE, st.decimals(0, 1, places=3), st.integers(1, 30))
def test_annuity_is_worth_its_price_today(price: Decimal, rate: Decimal, years: int) -> None:
    yearly = capital.annuity_year_money(
        price_money=price, salvage_money=0, interest_ratio=rate, life_years=years
    )
    flows = [CashFlow(year * 365 * DAY, yearly) for year in range(1, years + 1)]
    worth = cash_flow.npv_money(flows=flows, interest_ratio=rate, now_seconds=0)
    assert abs(worth - price) < Decimal("1e-20")


def test_roi_payback_and_tco_take_no_annuity() -> None:
    assert not {"annuity", "depreciation", "capital"} & set(get_args(cash_flow.CashKind))
    assert "annuity" not in inspect.getsource(cash_flow.tco).replace("like an annuity", "")
    payment = Payment("annuity", 0, 1)  # type: ignore[arg-type] # what a caller without types may say
    with pytest.raises(ValueError, match="annuity is no cash flow"):
        cash_flow.tco(actual=[payment], planned=[], now_seconds=0, interest_ratio=0)


def test_tco_with_all_its_parts_says_that_none_is_missing() -> None:
    found = cash_flow.tco(
        actual=[
            Payment("hardware", 0, 100),
            Payment("building", 0, 30),
            Payment("grid_connection", 0, 7),
        ],
        planned=[Payment("decommissioning", 9, 4), Payment("salvage", 9, -20)],
        now_seconds=0,
        interest_ratio=0,
    )
    assert found.missing_kinds == ()
    assert found.actual_money == 137
    assert found.planned_money == -16
    assert found.nominal_money == found.discounted_money == total(found.kind_money.values()) == 121


@pytest.mark.parametrize("lacking", ["building", "grid_connection", "decommissioning"])
def test_tco_names_each_part_that_is_missing(lacking: cash_flow.CashKind) -> None:
    kinds: tuple[cash_flow.CashKind, ...] = ("building", "grid_connection", "decommissioning")
    paid = [Payment(kind, 0, 1) for kind in kinds if kind != lacking]
    found = cash_flow.tco(actual=paid, planned=[], now_seconds=0, interest_ratio=0)
    assert found.missing_kinds == (lacking,)


@given(st.lists(st.tuples(INSTANT, PRICE)), INSTANT)
def test_tco_is_what_was_paid_and_what_is_ahead(
    payments: list[tuple[int, Decimal]], now: int
) -> None:
    paid = [Payment("energy", at, money) for at, money in payments if at <= now]
    planned = [Payment("energy", at, money) for at, money in payments]
    found = cash_flow.tco(actual=paid, planned=planned, now_seconds=now, interest_ratio=0)
    assert found.nominal_money == total(money for _, money in payments)


def test_payback_counts_all_flows_of_one_instant() -> None:
    flows = [CashFlow(0, -10), CashFlow(5, 10), CashFlow(5, -1), CashFlow(7, 1)]
    assert cash_flow.payback_seconds(flows=flows).value == 7
    assert cash_flow.payback_seconds(flows=[]).reason == "no cash flow"
    assert cash_flow.payback_seconds(flows=[CashFlow(0, 1)]).reason == "nothing was invested"


def test_capital_spent_beyond_what_was_committed_is_shown() -> None:
    found = capital.capital_position(
        committed_money=10, spent_money=12, usable_devices=2, powered_watts=1_000_000
    )
    assert found.outstanding_money == -2
    assert found.spent_money_per_devices == 6
    assert found.spent_money_per_megawatts == 12
