"""Invoices against what accrued: the variance, and the first cause that can explain it."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from meterhouse_collector.settlement.account import Account, GroupSums, Line
from meterhouse_collector.settlement.invoices import (
    Invoice,
    InvoiceError,
    load_invoices,
    parse_invoices,
    sample,
)
from meterhouse_collector.settlement.periods import Period
from meterhouse_collector.settlement.reconcile import Reconciliation, metered, reconcile
from meterhouse_collector.settlement.registers import MeterRegister
from tests.collector.settled import SITE, site
from tests.collector.test_settlement_statement import CHAT, SPARE, WINDOW, fixed

OCTOBER = Period("2026-10", *WINDOW)
DOLLARS = """
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = 0.5
valid_from = 2026-01-01
source = "made up"
"""
WATER = """
[[water]]
name = "city"
category = 1
meters = ["city"]
per_cubic_metre = 2
valid_from = 2026-01-01
[[meter]]
name = "city"
role = "water"
"""


def accrued(filled_joules: float = 0.0, **more: object) -> Account:
    """Return an account with 320 EUR for 1,600 kWh, 500 EUR rent, and 40 EUR for 20 m3 of water."""
    site_sums = {"billed_joules": 1600 * 3.6e6, "estimated_billed_joules": filled_joules}
    water = MeterRegister(meter="city", unit="litres", summed=20_000.0)
    parts: dict[str, object] = {
        "lines": (
            Line(CHAT, "energy", "active", Decimal("300.00")),
            Line(SPARE, "energy", "free", Decimal("20.00")),
            Line(SPARE, "rent", "free", Decimal("500.00")),
            Line(CHAT, "water", "active", Decimal("40.00")),
        ),
        "sums": (GroupSums(site().site_group, site_sums),),
        "registers": (water,),
        "missing_quarters": 0,
        "reasons": (),
    }
    return msgspec.structs.replace(fixed(), **{**parts, **more})


def invoice(kind: str, amount: str, quantity: str | None = None, **more: object) -> Invoice:
    fields = {"supplier": "City", "period": "2026-10", "number": "1", "quantity": quantity, **more}
    return Invoice.model_validate({"kind": kind, "amount": amount, **fields})


def found(account: Account, *invoices: Invoice) -> Reconciliation:
    model = site(SITE + DOLLARS + WATER).model
    (one,) = reconcile(model, invoices, account, OCTOBER)
    return one


@pytest.mark.parametrize(
    ("of", "account", "variance", "reason"),
    [
        (invoice("energy", "320.00"), accrued(), "0.00", "agrees"),
        (invoice("energy", "640.00", currency="USD"), accrued(), "0.00", "agrees"),
        (invoice("capital", "9.99"), accrued(), "9.99", "not accrued"),
        (invoice("energy", "330"), accrued(missing_quarters=3), "10.00", "missing quarters"),
        (invoice("energy", "330"), accrued(reasons=("x",)), "10.00", "missing quarters"),
        # 80 of 1,600 kWh filled gaps: 16 EUR.
        (invoice("energy", "304"), accrued(80 * 3.6e6), "-16.00", "estimated share"),
        (invoice("energy", "303.99"), accrued(80 * 3.6e6), "-16.01", "rate or quantity"),
        (invoice("energy", "340", "1700"), accrued(), "20.00", "quantity or meter"),
        (invoice("energy", "340", "1600"), accrued(), "20.00", "rate"),
        (invoice("energy", "340", "1610"), accrued(), "20.00", "rate"),
        (invoice("water", "44", "22"), accrued(), "4.00", "quantity or meter"),
        (invoice("water", "44", "22"), accrued(registers=()), "4.00", "rate or quantity"),
        (invoice("rent", "480"), accrued(), "-20.00", "rate"),
    ],
)
def test_the_variance_has_its_cause(
    of: Invoice, account: Account, variance: str, reason: str
) -> None:
    one = found(account, of)
    assert (one.variance, one.reason) == (Decimal(variance), reason)


def test_invoices_of_a_kind_are_added_up() -> None:
    one = found(accrued(), invoice("rent", "300"), invoice("rent", "260.004", number="2"))
    assert (one.invoiced, one.accrued, one.variance) == (
        Decimal("560.00"),
        Decimal("500.00"),
        Decimal("60.00"),
    )
    assert one.per_cent == "+12.00 %"
    assert one.true_up == "rent of 2026-10: +60.00 EUR"
    assert one.note == (
        "rent of 2026-10: invoiced 560.00, accrued 500.00, variance +60.00 (+12.00 %): rate"
    )
    assert one.invoices == ("City 1", "City 2")


def test_quantity_and_rate_are_told_apart() -> None:
    one = found(accrued(), invoice("energy", "374", "1700"))
    assert one.detail == (
        "invoiced 1,700.000 kWh, metered 1,600.000: +20.00 by quantity, +34.00 by rate"
    )
    assert one.reason == "rate"


def test_without_an_exchange_rate_there_is_no_value() -> None:
    one = found(accrued(), invoice("rent", "500", currency="GBP"))
    assert (one.invoiced, one.variance, one.variance_ratio) == (None, None, None)
    assert (one.reason, one.detail, one.true_up, one.per_cent) == (
        "currency",
        "no exchange rate from GBP to EUR on 2026-10-31",
        "none: no value",
        "-",
    )
    assert "no value" in one.note


def test_the_original_amount_of_an_invoice_is_kept_with_its_rate() -> None:
    dollars = invoice("energy", "1640.50", currency="USD", number="9")
    one = found(accrued(), dollars, invoice("energy", "1"))
    assert (one.invoiced, one.invoices) == (
        Decimal("821.25"),
        ("City 9 (1,640.50 USD at 0.5, made up, valid from 2026-01-01)", "City 1"),
    )
    pounds = found(accrued(), invoice("rent", "500", currency="GBP"))
    assert pounds.invoices == ("City 1 (500 GBP at no rate)",)


def test_what_agrees_needs_no_true_up() -> None:
    assert found(accrued(), invoice("rent", "500")).true_up == "none"


def test_energy_that_was_not_all_billed_has_no_quantity() -> None:
    model = site().model
    sums = GroupSums(site().site_group, {"billed_joules": 3.6e6, "unbilled_seconds": 900.0})
    assert metered(model, "energy", accrued(sums=(sums,))) is None
    assert metered(model, "energy", accrued()) == 1600
    assert metered(model, "rent", accrued()) is None


def test_the_sample_is_valid_and_keeps_its_decimals(tmp_path: Path) -> None:
    path = tmp_path / "invoices.toml"
    path.write_text(sample(), encoding="utf-8")
    first, second = load_invoices(path)
    assert (first.amount, first.quantity, first.note) == (
        Decimal("30412.77"),
        Decimal("198211.4"),
        "read on 1 November",
    )
    assert (second.kind, second.currency) == ("demand", None)
    assert set(Invoice.model_fields) <= {line.partition(" = ")[0] for line in sample().splitlines()}


def test_a_csv_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(
        "supplier,kind,period,amount,number,quantity,currency\n"
        'City,energy,2026-10,320.10,7,1600,\nLandlord,rent,2026-10,"500",8,,USD\n',
        encoding="utf-8",
    )
    energy, rent = load_invoices(path)
    assert (energy.amount, energy.quantity, energy.currency) == (
        Decimal("320.10"),
        Decimal(1600),
        None,
    )
    assert (rent.amount, rent.quantity, rent.currency) == (Decimal(500), None, "USD")


HEAD = "supplier,kind,period,amount,number\n"


@pytest.mark.parametrize(
    ("text", "is_csv", "fault"),
    [
        ("", False, "f: no invoices"),
        ("a = ", False, "f: not TOML"),
        ("[[bill]]\n", False, "f: bill: allowed: \\[\\[invoice\\]\\]"),
        ("[[invoice]]\nkind = 'gas'\n", False, "f: invoice 1: kind: Input should be"),
        (HEAD + "City,energy,2026-10,nan,7\n", True, "f: invoice 1: amount"),
        (HEAD + "City,energy,2026-10,1,7,8,9\n", True, "f: invoice 1: more cells"),
        (HEAD + "City,energy,2026-10,,7\n", True, "f: invoice 1: amount: Field required"),
        (HEAD + "City,rent,2026-10,1,7\n" * 2, True, "f: invoice 7 of City is there twice"),
        (HEAD + 'City,"rent,2026-10,1,7\n', True, "f: not CSV"),
        (
            HEAD.replace("number", "number,quantity") + "City,rent,2026-10,1,7,5\n",
            True,
            "f: invoice 1: all: a quantity with kind energy or water only",
        ),
    ],
)
def test_what_is_no_invoice_is_refused(text: str, is_csv: bool, fault: str) -> None:  # noqa: FBT001 - a parameter of the test
    with pytest.raises(InvoiceError, match=fault):
        parse_invoices(text, "f", is_csv=is_csv)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvoiceError, match=r"no\.toml"):
        load_invoices(tmp_path / "no.toml")
