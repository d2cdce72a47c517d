"""Statement lines as FOCUS rows: names, cash and amortised cost, tokens, corrections."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.exact import total
from meterhouse_collector.money.focus import (
    COLUMNS,
    VERSION,
    Commitment,
    Statement,
    StatementLine,
    Value,
    focus_rows,
)

MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
STATEMENT = Statement("2026-05-1", MAY, JUNE, account="site", provider="operator")
LINE = StatementLine(
    begins=MAY,
    ends=JUNE,
    pool="chat",
    tenant="acme",
    accelerator_model="H100",
    served_model="llama",
    kind="capital",
    state="active",
    amount_money=Decimal("12.34"),
    currency="EUR",
)


def row(**parts: Any) -> dict[str, Value]:  # noqa: ANN401 - any field of a line
    return focus_rows([LINE._replace(**parts)], STATEMENT)[0]


def cost(of: dict[str, Value], column: str) -> Decimal:
    found = of[column]
    assert isinstance(found, Decimal)
    return found


def test_rows_have_all_columns_and_ours_stand_last() -> None:
    assert VERSION == "1.2"
    assert tuple(row()) == COLUMNS
    ours = [column for column in COLUMNS if column.startswith("x_")]
    assert COLUMNS[-len(ours) :] == tuple(ours)
    assert list(COLUMNS[: -len(ours)]) == sorted(COLUMNS[: -len(ours)])


def test_row_of_a_plain_line() -> None:
    found = row(quantity=Decimal(7200), unit="device-seconds")
    expected = {
        "BilledCost": Decimal("12.34"),
        "EffectiveCost": Decimal("12.34"),
        "BillingCurrency": "EUR",
        "BillingPeriodStart": "2026-05-01T00:00:00Z",
        "BillingPeriodEnd": "2026-06-01T00:00:00Z",
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ConsumedQuantity": Decimal(2),
        "ConsumedUnit": "GPU-Hours",
        "InvoiceId": "2026-05-1",
        "PricingCategory": "Standard",
        "ServiceCategory": "AI and Machine Learning",
        "SubAccountId": "acme",
        "x_AcceleratorModel": "H100",
        "x_CostKind": "capital",
        "x_DeviceState": "active",
        "x_ServedModel": "llama",
    }
    assert {column: found[column] for column in expected} == expected


@pytest.mark.parametrize(
    ("status", "billed", "effective"),
    [("purchase", "12.34", "0"), ("used", "0", "12.34"), ("unused", "0", "12.34")],
)
def test_purchases_are_cash_and_their_use_is_amortised(
    status: str, billed: str, effective: str
) -> None:
    found = row(commitment=Commitment("c1", status))  # type: ignore[arg-type] # one of the three
    assert found["BilledCost"] == Decimal(billed)
    assert found["EffectiveCost"] == Decimal(effective)
    assert found["ChargeCategory"] == ("Purchase" if status == "purchase" else "Usage")
    status_column = {"purchase": None, "used": "Used", "unused": "Unused"}[status]
    assert found["CommitmentDiscountStatus"] == status_column
    # A purchase may not be priced as committed, and nothing is consumed by it or by what is unused.
    assert found["PricingCategory"] == ("Standard" if status == "purchase" else "Committed")
    assert (found["ConsumedQuantity"] is None) == (status != "used")
    assert (found["ConsumedUnit"] is None) == (status != "used")


@pytest.mark.parametrize("money", ["0", "-1"])
def test_unused_commitment_costs_something(money: str) -> None:
    with pytest.raises(ValueError, match="unused, allowed: above 0"):
        row(commitment=Commitment("c1", "unused"), amount_money=Decimal(money))


def test_token_meters_have_the_units_of_the_specification() -> None:
    found = row(quantity=Decimal(8_400_000), unit="tokens")
    assert found["ConsumedQuantity"] == 8_400_000
    assert found["ConsumedUnit"] == "Tokens"
    assert found["PricingQuantity"] == Decimal("8.4")
    assert found["PricingUnit"] == "1000000 Tokens"


def test_later_difference_is_a_correction() -> None:
    found = row(adjustment=True, amount_money=Decimal("-0.01"))
    assert found["ChargeClass"] == "Correction"
    assert found["ChargeCategory"] == "Usage"
    assert found["BilledCost"] == Decimal("-0.01")
    back = row(adjustment=True, amount_money=Decimal(-1), commitment=Commitment("c1", "unused"))
    assert back["EffectiveCost"] == -1


@given(st.integers(1, 10**6), st.integers(0, 24))
def test_trap_4_14_billed_and_effective_are_two_series_of_the_same_money(
    cents: int, used_hours: int
) -> None:
    rate = Decimal(cents) / 100
    amounts = {"purchase": 24 * rate, "used": used_hours * rate, "unused": (24 - used_hours) * rate}
    lines = [
        LINE._replace(amount_money=money, commitment=Commitment("c1", status))  # type: ignore[arg-type] # one of the three
        for status, money in amounts.items()
        if money
    ]
    rows = focus_rows(lines, STATEMENT)
    billed = total(cost(each, "BilledCost") for each in rows)
    effective = total(cost(each, "EffectiveCost") for each in rows)
    assert billed == effective == 24 * rate
    assert billed + effective != 24 * rate


def test_trap_4_14_money_is_decimal_and_has_its_currency() -> None:
    lines = [LINE._replace(amount_money=Decimal(text)) for text in ("0.1", "0.2")]
    rows = focus_rows(lines, STATEMENT)
    assert total(cost(each, "BilledCost") for each in rows) == Decimal("0.3")
    assert {each["BillingCurrency"] for each in rows} == {"EUR"}
    assert all(isinstance(value, str | Decimal | None) for each in rows for value in each.values())


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"kind": "annuity"}, "found kind annuity"),
        ({"quantity": Decimal(1)}, "both or neither"),
        ({"quantity": Decimal(1), "unit": "furlongs"}, "found unit furlongs"),
        ({"quantity": Decimal("NaN"), "unit": "tokens"}, "quantity NaN"),
        ({"amount_money": Decimal("Infinity")}, "amount_money Infinity"),
        ({"begins": MAY.replace(tzinfo=None)}, "an instant in UTC"),
        ({"ends": JUNE.replace(tzinfo=timezone(timedelta(hours=2)))}, "an instant in UTC"),
    ],
)
def test_line_that_no_row_can_have_is_an_error(parts: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        row(**parts)


def test_quantities_have_no_more_digits_than_a_meter() -> None:
    found = row(quantity=Decimal(3_600_000) / 7, unit="joules")
    assert found["ConsumedQuantity"] == Decimal("0.142857143")
    assert found["PricingQuantity"] == Decimal("0.142857143")
