"""Contracts for capacity by what they delivered, tokens by the prices of their day, and margins."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.settlement.account import Sources, account
from meterhouse_collector.settlement.allocation import Settled
from meterhouse_collector.settlement.capacity import ContractTotal, contract_totals
from meterhouse_collector.settlement.dues import Bill
from meterhouse_collector.settlement.exchange import Original
from meterhouse_collector.settlement.sales import Sale, margins, sales, token_originals
from meterhouse_collector.settlement.traded import (
    NOTHING_TRADED,
    Delivered,
    Sold,
    Traded,
    all_traded,
    traded,
)
from meterhouse_collector.site.index import GroupKey
from tests.collector.bills import instant
from tests.collector.settled import SITE, site

MONTH = (instant("2026-11-01"), instant("2026-12-01"))
QUARTERS = 30 * 96
BOUGHT = """
[[contract]]
name = "rented"
side = "bought"
counterparty = "Neocloud"
pools = ["spare"]
units = 4
rate = 2
valid_from = 2026-01-01
"""
SOLD = (
    BOUGHT.replace('"rented"', '"acme-gpus"')
    .replace('"bought"', '"sold"')
    .replace("counterparty", 'tenant = "acme"\ncounterparty')
)
CREDIT = (
    "credit = [{ below_ratio = 0.99, credit_ratio = 0.1 },"
    " { below_ratio = 0.95, credit_ratio = 0.25 }]\n"
)


def quarters(delivered: float, unknown: float = 0.0, devices: int = 4) -> dict[int, Delivered]:
    """Return the quarters of the month, each with these parts of it delivered and unknown."""
    whole = devices * 900.0
    each = Delivered(whole, whole * delivered, whole * unknown)
    return {MONTH[0] + quarter * 900: each for quarter in range(QUARTERS)}


def total(text: str, found: Mapping[int, Delivered], party: str = "bought") -> ContractTotal:
    tenant = "acme" if party == "sold" else "none"
    both = Traded({(party, tenant): dict(found)}, {})
    (only,) = contract_totals(site(SITE + text), MONTH, both)
    return only


@pytest.mark.parametrize(
    ("more", "delivered", "money"),
    [
        # 4 devices at 2 an hour are 5,760 in November; all of it is due, delivered or not.
        ("", 1.0, "5760.00"),
        ("", 0.5, "5760.00"),
        # Of each unit at least so much is paid, and what was delivered if that is more.
        ("take_or_pay_ratio = 0.8\n", 0.9, "5184.00"),
        ("take_or_pay_ratio = 0.8\n", 0.5, "4608.00"),
        ("take_or_pay_ratio = 0\n", 0.0, "0.00"),
        # The credit of the lowest step that the delivered part is below.
        (CREDIT, 0.99, "5760.00"),
        (CREDIT, 0.98, "5184.00"),
        (CREDIT, 0.94, "4320.00"),
        (f"take_or_pay_ratio = 0.5\n{CREDIT}", 0.9, "3744.00"),
    ],
)
def test_due_is_the_rate_less_what_take_or_pay_and_credits_leave(
    more: str, delivered: float, money: str
) -> None:
    found = total(BOUGHT + more, quarters(delivered))
    assert found.rate_money == Decimal("5760.00")
    assert (found.low_due_money, found.high_due_money) == (Decimal(money), Decimal(money))
    assert not found.provisional


def test_units_of_unknown_state_give_a_low_and_a_high() -> None:
    found = total(BOUGHT + CREDIT, quarters(0.9, unknown=0.1))
    assert (found.low_due_money, found.high_due_money) == (Decimal("4320.00"), Decimal("5760.00"))
    assert found.high_credit_money == Decimal("1440.00")


def test_an_hour_short_is_not_netted_by_the_next_where_a_commitment_is_continuous() -> None:
    text = f"{BOUGHT}take_or_pay_ratio = 0.8\n"
    uneven = {
        start: Delivered(found.contracted, found.contracted * (number // 4 % 2), 0.0)
        for number, (start, found) in enumerate(quarters(1.0).items())
    }
    assert total(text, uneven).low_due_money == Decimal("4608.00")
    hourly = (
        '[[commitment]]\nname = "use"\ncontract = "rented"\ncategory = "usage"\n'
        'model = "continuous"\ninterval = "hour"\ndevice_hours = 1\nvalid_from = 2026-01-01\n'
    )
    # Each second hour 80 % of it, the others whole.
    assert total(text + hourly, uneven).low_due_money == Decimal("5184.00")


def test_delivery_that_is_not_known_is_no_amount() -> None:
    found = total(BOUGHT, {})
    assert found.low_due_money is None
    assert found.reason == "nothing is summed of what it delivered from 2026-11-01 on"
    two = BOUGHT + BOUGHT.replace('"rented"', '"other"').replace("spare", "chat")
    both = Traded({("bought", "none"): quarters(1.0)}, {})
    reasons = [each.reason for each in contract_totals(site(SITE + two), MONTH, both)]
    assert reasons == [
        "what it delivered is kept together with that of other",
        "what it delivered is kept together with that of rented",
    ]


def test_a_prepayment_is_cash_and_accrues_once() -> None:
    text = BOUGHT.replace("2026-01-01", "2026-11-01")
    paid = "prepayment = [{ paid_on = 2026-10-15, amount = 10000 }]\n"
    found = total(text + paid, quarters(1.0))
    assert found.low_due_money == Decimal("5760.00")
    assert found.notes[-1] == (
        "rented: of 10,000.00 EUR paid ahead 4,240.00 are left at the end; it is cash, and what"
        " it pays for accrues once"
    )


def test_a_credit_of_a_month_that_is_not_over_is_provisional() -> None:
    both = Traded({("bought", "none"): quarters(1.0)}, {})
    index = site(SITE + BOUGHT + CREDIT)
    (found,) = contract_totals(index, (MONTH[0], MONTH[0] + 86_400), both)
    assert found.provisional
    assert found.rate_money == Decimal("192.00")


PRICES = """
[[tenant]]
name = "other"
[[token_price]]
served_model = "llama"
input_per_million = 2
cached_input_per_million = 1
output_per_million = 8
valid_from = 2026-01-01
[[token_price]]
served_model = "llama"
input_per_million = 4
output_per_million = 16
valid_from = 2026-11-02
[[token_price]]
served_model = "llama"
tenant = "other"
input_per_million = 0
output_per_million = 1
valid_from = 2026-01-01
"""
ONE = Sold(3e6, 1e6, 1e6)


def test_tokens_sell_at_the_price_of_their_day_and_tenant() -> None:
    days = (MONTH[0], MONTH[0] + 86_400)
    tokens = {(day, tenant, "llama"): ONE for day in days for tenant in ("acme", "other")}
    found = sales(site(SITE + PRICES), Traded({}, tokens), ())
    # 2 * 2 + 1 + 8 on the first day; later there is no other price for what a cache had.
    assert [(s.tenant, s.low_money) for s in found] == [
        ("acme", Decimal(13 + 28)),
        ("other", Decimal(2)),
    ]


def test_tokens_keep_the_amount_of_the_currency_that_they_were_sold_in() -> None:
    dollars = PRICES.replace("2026-11-02\n", '2026-11-02\ncurrency = "USD"\n')
    rate = """
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = 0.5
valid_from = 2026-01-01
source = "made up"
"""
    index = site(SITE + dollars + rate)
    days = (MONTH[0], MONTH[0] + 86_400)
    traded = Traded({}, {(day, who, "llama"): ONE for day in days for who in ("acme", "other")})
    assert sales(index, traded, ())[0].low_money == 13 + 14
    assert token_originals(index, traded) == (
        Original(kind="tokens", name="acme llama", currency="USD", money=Decimal(28)),
    )
    sources = Sources(
        sums={},
        money=Settled({}, (), (), 0),
        bill=Bill((), ()),
        registers=(),
        revision=0,
        model_revision="",
        traded=traded,
    )
    assert account(index, MONTH, sources).originals == token_originals(index, traded)


def test_tokens_without_a_price_have_no_revenue_and_no_zero() -> None:
    text = PRICES.replace('served_model = "llama"', 'served_model = "other"')
    (found,) = sales(site(SITE + text), Traded({}, {(MONTH[0], "acme", "llama"): ONE}), ())
    assert found.low_money is None
    assert found.reason == "no price of llama tokens on 2026-11-01"
    assert sales(site(), Traded({}, {(MONTH[0], "acme", "llama"): ONE}), ()) == ()


def sale(low: str, high: str | None = None) -> Sale:
    return Sale(
        tenant="acme",
        what="capacity",
        name="gpus",
        low_money=Decimal(low),
        high_money=Decimal(high or low),
    )


def test_margin_is_of_revenue_and_markup_of_cost() -> None:
    margin, markup = margins([sale("645")], Decimal(100), None)
    assert margin.value == pytest.approx(545 / 645)
    assert markup.value == pytest.approx(5.45)
    assert (margin.unit, markup.unit) == ("ratio of revenue", "ratio of cost")
    assert (margin.numerator, margin.denominator, margin.coverage) == (545.0, 645.0, 1.0)


def test_margins_without_a_price_a_cost_or_a_delivery_have_a_reason() -> None:
    assert margins([], Decimal(1), None) == []
    (margin, _) = margins([sale("10")], Decimal(1), "H100: no price")
    assert (margin.value, margin.reason) == (None, "H100: no price")
    (_, markup) = margins([sale("10")], Decimal(0), None)
    assert (markup.value, markup.reason) == (None, "no cost")
    (margin, markup) = margins([sale("50", "100")], Decimal(40), None)
    assert (margin.value, margin.low, margin.high) == (None, 0.2, 0.6)
    assert (markup.low, markup.high) == (0.25, 1.5)
    assert margin.coverage == 0.5


def test_what_is_sold_is_both_a_contract_and_revenue() -> None:
    index = site(SITE + SOLD)
    both = Traded({("sold", "acme"): quarters(1.0)}, {})
    contracts = contract_totals(index, MONTH, both)
    (found,) = sales(index, both, contracts)
    assert (found.tenant, found.what, found.low_money) == ("acme", "capacity", Decimal("5760.00"))


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_deliveries_are_those_of_quarters_and_tokens_of_days(parts: list[float]) -> None:
    group = GroupKey("site", tenant="acme", served_model="llama")
    rows = {
        MONTH[0] + 900 * number: {
            group: {
                **zero_sums(),
                "sold_contracted_seconds": 3600.0,
                "sold_delivered_seconds": 3600.0 * part,
                "output_tokens": 100.0,
            }
        }
        for number, part in enumerate(parts)
    }
    day = all_traded([traded(MONTH[0], rows), NOTHING_TRADED])
    assert day.quarters["sold", "acme"] == {
        MONTH[0] + 900 * number: Delivered(3600.0, 3600.0 * part, 0.0)
        for number, part in enumerate(parts)
    }
    assert day.tokens == {(MONTH[0], "acme", "llama"): Sold(0.0, 0.0, 400.0)}
