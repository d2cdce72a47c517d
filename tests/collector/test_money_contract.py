"""Contracts and the burn of budgets: what is settled, by which interval, and when to say so."""

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money import burn, contract, delivery
from meterhouse_collector.money.burn import SpendSample
from meterhouse_collector.money.contract import RampStep
from meterhouse_collector.money.exact import total

HOURS = st.decimals(0, 10**6, places=3)
MONEY = st.decimals(0, 10**9, places=2)
HOUR = 3600


def take_or_pay(
    delivered: list[Decimal], model: Literal["continuous", "discontinuous"], floor: str = "1"
) -> contract.TakeOrPay:
    return contract.take_or_pay(
        delivered_hours=delivered,
        committed_hours=[10] * len(delivered),
        floor_ratio=Decimal(floor),
        price_money_per_hours=2,
        model=model,
    )


def test_shortfall_of_an_hour_is_not_netted_by_the_next() -> None:
    hourly = take_or_pay([Decimal(0), Decimal(20)], "continuous")
    assert hourly.billed_money == 60
    assert hourly.shortfall_money == 20
    trued_up = take_or_pay([Decimal(0), Decimal(20)], "discontinuous")
    assert trued_up.billed_money == 40
    assert trued_up.shortfall_money == 0


@given(st.lists(HOURS, min_size=1), st.sampled_from(("0", "0.8", "1")))
def test_hourly_settlement_never_bills_less_than_the_true_up(
    delivered: list[Decimal], floor: str
) -> None:
    hourly = take_or_pay(delivered, "continuous", floor)
    trued_up = take_or_pay(delivered, "discontinuous", floor)
    assert hourly.billed_money >= trued_up.billed_money >= trued_up.consumed_money
    for found in (hourly, trued_up):
        assert found.billed_money == found.consumed_money + found.shortfall_money


@given(HOURS, HOURS)
def test_used_and_unused_commitment_sum_to_what_is_paid(one: Decimal, other: Decimal) -> None:
    found = contract.commitment_use(
        committed_hours=max(one, other),
        used_hours=min(one, other),
        committed_money_per_hours=Decimal("52.4"),
        list_money_per_hours=Decimal("78.6"),
    )
    assert found.used_money + found.unused_money == found.total_money


def test_trap_4_15_utilization_and_coverage_have_different_denominators() -> None:
    use = contract.commitment_use(
        committed_hours=24, used_hours=18, committed_money_per_hours=1, list_money_per_hours=1
    )
    coverage = contract.commitment_coverage_ratio(committed_used_hours=18, all_used_hours=90)
    assert (use.utilization_ratio, coverage.value) == (Decimal("0.75"), Decimal("0.2"))
    nothing = contract.commitment_use(
        committed_hours=0, used_hours=0, committed_money_per_hours=1, list_money_per_hours=1
    )
    assert (nothing.utilization_ratio, nothing.reason) == (None, "nothing is committed")


INSTANT = st.integers(0, 10**6)


@given(st.dictionaries(INSTANT, st.integers(0, 10**5)), st.lists(INSTANT, min_size=3, max_size=3))
def test_commitment_of_windows_that_touch_adds_up(ramp: dict[int, int], at: list[int]) -> None:
    def committed(begins: int, ends: int) -> Decimal:
        steps = [RampStep(start, devices) for start, devices in ramp.items()]
        return contract.committed_device_seconds(
            steps=steps, begins_seconds=begins, ends_seconds=ends
        )

    first, middle, last = sorted(at)
    assert committed(first, middle) + committed(middle, last) == committed(first, last)
    by_second = max((start for start in ramp if start <= first), default=None)
    expected = 0 if by_second is None else ramp[by_second]
    until = min((start for start in ramp if start > first), default=last)
    assert committed(first, min(until, last)) == expected * (min(until, last) - first)


def test_ramp_with_two_steps_at_once_is_an_error() -> None:
    with pytest.raises(ValueError, match="two steps"):
        contract.committed_device_seconds(
            steps=[RampStep(0, 1), RampStep(0, 2)], begins_seconds=0, ends_seconds=1
        )


@given(MONEY, st.lists(MONEY))
def test_prepayment_and_bill_together_are_the_charges(
    prepaid: Decimal, charges: list[Decimal]
) -> None:
    found = delivery.prepayment_draw_down(prepaid_money=prepaid, charges_money=charges)
    assert total(found.drawn_money) + found.balance_money == prepaid
    assert total(found.drawn_money) + total(found.billed_money) == total(charges)


def test_more_delivered_than_contracted_is_worth_no_more() -> None:
    found = delivery.contract_delivery(
        contracted_hours=10,
        delivered_hours=12,
        unknown_hours=1,
        excluded_hours=0,
        price_money_per_hours=3,
    )
    assert found.low_ratio == found.high_ratio == 1
    assert found.high_money == 30
    with pytest.raises(ValueError, match="excluded_hours 11, allowed: at most 10"):
        delivery.contract_delivery(
            contracted_hours=10,
            delivered_hours=0,
            unknown_hours=0,
            excluded_hours=11,
            price_money_per_hours=3,
        )


def test_trap_4_6_thresholds_of_an_error_budget_would_never_fire() -> None:
    error_budget = [burn.BurnRule(Decimal(t), HOUR, 300) for t in ("14.4", "6")]
    for rule in burn.reachable_burn_rules(max_ratio=Decimal("1.5"), rules=error_budget):
        assert rule.reason is not None
        assert "unreachable" in rule.reason
        assert rule.threshold_ratio == Decimal("1.35")


def test_trap_4_6_spend_has_its_own_thresholds() -> None:
    assert [(r.threshold_ratio, r.long_seconds, r.short_seconds) for r in burn.RULES] == [
        (2, HOUR, 300),
        (Decimal("1.25"), 6 * HOUR, 1800),
        (Decimal("1.05"), 72 * HOUR, 6 * HOUR),
    ]
    roomy = burn.reachable_burn_rules(max_ratio=3, rules=burn.RULES)
    assert [(r.threshold_ratio, r.reason) for r in roomy] == [
        (rule.threshold_ratio, None) for rule in burn.RULES
    ]
    close = burn.reachable_burn_rules(max_ratio=Decimal("2.1"), rules=burn.RULES)[0]
    assert close.threshold_ratio == Decimal("1.89")
    assert close.reason == "2 is close to 2.1, the most possible; 1.89 instead"


@given(st.decimals(0, 20, places=3))
def test_threshold_is_above_the_budget_and_within_the_possible(possible: Decimal) -> None:
    for found in burn.reachable_burn_rules(max_ratio=possible, rules=burn.RULES):
        if found.threshold_ratio is None:
            assert found.reason is not None
            continue
        assert 1 < found.threshold_ratio <= possible
        assert found.threshold_ratio <= found.rule.threshold_ratio


@pytest.mark.parametrize(
    ("long", "short", "threshold", "fires"),
    [
        ("2", "2", "2", True),
        ("2.1", "1.9", "2", False),
        ("1.9", "2.1", "2", False),
        (None, "2", "2", None),
        ("2", None, "2", None),
        ("2", "2", None, None),
    ],
)
def test_alert_needs_the_long_and_the_short_window(
    long: str | None, short: str | None, threshold: str | None, *, fires: bool | None
) -> None:
    ratios = [None if text is None else Decimal(text) for text in (long, short, threshold)]
    found = burn.burn_alert_fires(
        long_ratio=ratios[0], short_ratio=ratios[1], threshold_ratio=ratios[2]
    )
    assert found is fires


def test_counter_that_began_again_is_corrected_and_a_credit_stays_a_credit() -> None:
    values = [0, 1, 2, 3, 2, 3, 4]  # as Prometheus tests its increase: 7
    again = [SpendSample(at, v, int(at >= 4)) for at, v in enumerate(values)]
    assert burn.cumulative_spend(samples=again)[-1][1] == 7
    credit = [SpendSample(at, v, 0) for at, v in enumerate(values)]
    assert burn.cumulative_spend(samples=credit)[-1][1] == 4
    with pytest.raises(ValueError, match="at_seconds 0, allowed: after 1"):
        burn.cumulative_spend(samples=[SpendSample(1, 0, 0), SpendSample(0, 0, 0)])


@given(MONEY, st.decimals(0, 1000, places=3), st.integers(2, 50), st.integers(0, 10**7))
def test_steady_spend_is_forecast_exactly(
    spent: Decimal, hourly: Decimal, count: int, remaining: int
) -> None:
    samples = [SpendSample(at * HOUR, hourly * at, 0) for at in range(count)]
    found = burn.spend_forecast(
        samples=samples,
        spent_money=spent,
        budget_money=10**12,
        committed_money_per_hours=5,
        remaining_seconds=remaining,
    )
    expected = spent + (hourly + 5) * remaining / HOUR
    assert found.end_money == pytest.approx(expected, rel=Decimal("1e-20"))
    assert found.exhausted_seconds is not None
