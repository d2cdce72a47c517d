"""A statement adds up to the cent, however it is looked at and written."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money import focus
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.settlement.account import (
    Account,
    Adjustment,
    BillTotal,
    Closing,
    GroupSums,
    Line,
    Sources,
    account,
    whole_quarters,
)
from meterhouse_collector.settlement.allocation import Settled
from meterhouse_collector.settlement.documents import CSV_COLUMNS, as_csv, as_focus, as_json
from meterhouse_collector.settlement.dues import Bill, DueLine
from meterhouse_collector.settlement.exchange import Original
from meterhouse_collector.settlement.figures import declared_models
from meterhouse_collector.settlement.registers import MeterRegister, meter_register
from meterhouse_collector.settlement.statement import BYS, statement
from meterhouse_collector.settlement.table import as_table
from meterhouse_collector.site.index import GroupKey, SiteIndex
from tests.collector.bills import instant
from tests.collector.settled import SITE, site

GOLDEN = Path(__file__).parent / "statement_table.txt"
WINDOW = (instant("2026-10-01"), instant("2026-11-01"))
SEPTEMBER = (instant("2026-09-01"), instant("2026-10-01"))
CHAT = GroupKey("site", "c1", "chat", "acme", "nvidia", "H100", "llama")
SPARE = GroupKey("site", "c1", "spare", "none", "nvidia", "H100")
INDEX = site()
GROUPS = [INDEX.site_group, CHAT, SPARE]


def figure(name: str, value: float | None, parts: tuple[float, float], **more: Any) -> KpiValue:  # noqa: ANN401 - any field of a figure
    return KpiValue(
        name=name,
        unit="ratio",
        label=f"what {name} is",
        value=value,
        numerator=parts[0],
        denominator=parts[1],
        **more,
    )


FIGURES = {
    "chat": (
        figure("idle", 1 / 6, (360_000.0, 2_160_000.0), coverage=1.0, low=0.1, high=0.2),
        figure("cost", None, (12.0, 3.0), coverage=0.5, reason="coverage 50.0% is below 95%"),
        figure("latency", None, (0.0, 0.0), coverage=0.0, reason="no engine tells"),
    ),
    "total": (
        figure("idle", 0.0, (0.0, 2.0e6), coverage=1.0, low=0.0, high=0.0),
        figure("pue", None, (0.0, 0.0), coverage=0.0, reason="no boundary meter"),
        figure("latency", None, (0.0, 0.0), coverage=0.0, reason="no engine tells"),
    ),
}


def fixed() -> Account:
    """Return an account of every part, in numbers that a person can add up."""
    return Account(
        site="site",
        begins_seconds=WINDOW[0],
        ends_seconds=WINDOW[1],
        time_zone="Europe/Berlin",
        currency="EUR",
        basis=EnergyBasis(
            boundary_metered=True, it_metered=True, category=2, slowest_step_seconds=0.0
        ),
        lines=(
            Line(CHAT, "capital", "active", Decimal("1000.10")),
            Line(CHAT, "capital", "held_idle", Decimal("50.00")),
            Line(CHAT, "energy", "active", Decimal("300.03")),
            Line(SPARE, "capital", "free", Decimal("500.00")),
            Line(SPARE, "energy", "free", Decimal("20.00")),
            Line(INDEX.site_group, "demand", "unknown", Decimal("-7.00")),
        ),
        adjustments=(
            Adjustment("2026-09", 1, *SEPTEMBER, Line(CHAT, "energy", "active", Decimal("-1.25"))),
        ),
        sums=(
            GroupSums(INDEX.site_group, {"interval_seconds": 2_682_000.0, "billed_joules": 3.6e9}),
            GroupSums(
                CHAT,
                {
                    "active_seconds": 3600.0 * 500,
                    "held_idle_seconds": 3600.0 * 100,
                    "installed_seconds": 3600.0 * 600,
                    "active_drawn_joules": 3.6e9,
                    "held_idle_drawn_joules": 3.6e8,
                    "input_tokens": 4_000_000.0,
                    "cached_input_tokens": 1_000_000.0,
                    "output_tokens": 2_000_000.0,
                    "requests_succeeded": 900.0,
                },
            ),
            GroupSums(SPARE, {"free_seconds": 3600.0 * 745, "installed_seconds": 3600.0 * 745}),
        ),
        bill=(
            BillTotal(
                name="usage",
                kind="energy",
                component="energy",
                money=Decimal("320.03"),
                provisional=False,
                reason=None,
                notes=(),
            ),
            BillTotal(
                name="city",
                kind="water",
                component="water",
                money=None,
                provisional=True,
                reason="not measured",
                notes=("read by hand",),
            ),
        ),
        registers=(
            MeterRegister(
                meter="utility",
                unit="joules",
                opening=3.6e9,
                opening_at_milliseconds=WINDOW[0] * 1000,
                closing=7.2e9,
                closing_at_milliseconds=WINDOW[1] * 1000,
                counted=3.6e9,
                summed=3.6e9,
            ),
            MeterRegister(meter="city", unit="litres", note="no register was read near both ends"),
        ),
        missing_quarters=4,
        revision=3,
        model_revision="0123456789ab",
        provisional=True,
        reasons=("city: not measured",),
        notes=("4 quarter hours have no rollup: what they cost is under unknown",),
    )


def test_the_table_looks_as_it_always_did() -> None:
    # With figures of its own, so that another KPI changes nothing here.
    shown = msgspec.structs.replace(statement(fixed(), "pool"), figures=FIGURES)
    assert as_table(shown) == GOLDEN.read_text(encoding="utf-8")


def test_without_a_price_there_is_no_total_and_with_it_the_adjustments_are_in_it() -> None:
    assert statement(fixed(), "pool").total is None
    whole = statement(msgspec.structs.replace(fixed(), reasons=()), "pool")
    assert (whole.known, whole.adjusted, whole.total) == (
        Decimal("1863.13"),
        Decimal("-1.25"),
        Decimal("1861.88"),
    )


money = st.decimals(-100, 1000, places=9)
keys = st.tuples(st.sampled_from(GROUPS), st.sampled_from(KINDS), st.sampled_from(wire.STATES))


def made(
    found: dict[tuple[GroupKey, str, str], Decimal],
    bill: Bill | None = None,
    missing: int = 0,
    index: SiteIndex = INDEX,
) -> Account:
    sources = Sources(
        sums={},
        money=Settled(found, (), (), missing),
        bill=bill or Bill((), ()),
        registers=(),
        revision=0,
        model_revision="",
    )
    return account(index, WINDOW, sources)


@pytest.mark.parametrize(
    ("kind", "spread"), [("spare", ("spare",)), ("shared", ("spare",)), ("own", ())]
)
def test_what_spare_and_shared_pools_cost_is_spread(kind: str, spread: tuple[str, ...]) -> None:
    index = site(SITE.replace('kind = "spare"', f'kind = "{kind}"'))
    assert made({}, index=index).spread_pools == spread


@given(st.dictionaries(keys, money, max_size=60))
def test_every_view_adds_up_to_the_same_cents(
    found: dict[tuple[GroupKey, str, str], Decimal],
) -> None:
    of = made(found)
    total = round_total(add(found.values()), "EUR")
    assert of.known == total
    by_kind: dict[str, Decimal] = {}
    for by in BYS:
        view = statement(of, by)
        assert add(cell.money for cell in view.cells) == total == view.total
        kinds = {k: add(c.money for c in view.cells if c.kind == k) for k in KINDS}
        assert by_kind in ({}, kinds)
        by_kind = kinds
    for line in of.lines:
        assert abs(line.money - found[line[:3]]) < Decimal("0.01")
    rows = list(csv.DictReader(io.StringIO(as_focus(of))))
    assert sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0)) == total


@given(st.lists(money, min_size=1, max_size=6), st.lists(money, min_size=1, max_size=6))
def test_the_lines_of_a_bill_sum_to_their_kinds(
    energy: list[Decimal], other: list[Decimal]
) -> None:
    lines = tuple(
        DueLine(f"{kind}-{n}", kind, kind, (amount,), {}, provisional=False, notes=())
        for kind, amounts in (("energy", energy), ("demand", other))
        for n, amount in enumerate(amounts)
    )
    of = made(
        {
            (CHAT, "energy", "active"): add(energy),
            (SPARE, "demand", "free"): add(other),
            (CHAT, "capital", "active"): Decimal("0.333"),
        },
        Bill((), lines),
    )
    for kind in ("energy", "demand"):
        billed = add(line.money or Decimal(0) for line in of.bill if line.kind == kind)
        assert billed == add(line.money for line in of.lines if line.kind == kind)


def test_a_line_of_a_bill_without_an_amount_has_a_reason() -> None:
    line = DueLine("usage", "energy", "energy", (Decimal(1), None), {1: "no price"}, False, ())  # noqa: FBT003 - in the order of its fields
    (found,) = made({}, Bill((), (line,))).bill
    assert (found.money, found.reason) == (None, "no price")


def test_the_json_has_decimals_as_strings_and_every_part() -> None:
    found = json.loads(as_json(statement(fixed(), "tenant")))
    assert found["begins"] == "2026-09-30T22:00:00Z"
    assert (found["money"], found["adjusted_money"], found["total_money"]) == (
        "1863.13",
        "-1.25",
        None,
    )
    assert found["cells"][0] == {
        "group": "acme",
        "kind": "capital",
        "state": "active",
        "money": "1000.10",
    }
    assert found["adjustments"] == [
        {
            "adjusts": "2026-09",
            "group": "acme",
            "kind": "energy",
            "state": "active",
            "money": "-1.25",
        }
    ]
    assert found["registers"][0]["difference"] == 0
    assert found["registers"][1]["counted"] is None
    assert found["quantities"]["acme"]["output_tokens"] == 2_000_000
    (idle,) = [f for f in found["figures"]["acme"] if f["name"] == "idle_capacity_ratio"]
    assert (idle["value"], idle["numerator"], idle["denominator"]) == (
        pytest.approx(1 / 6),
        360_000,
        2_160_000,
    )
    assert (idle["coverage"], idle["revision"]) == (1, 3)
    assert found["reasons"] == ["city: not measured"]


def test_amounts_in_other_currencies_stand_beside_the_rates() -> None:
    priced = Original(kind="rent", name="cloud", currency="USD", money=Decimal("1200.50"))
    shown = statement(msgspec.structs.replace(fixed(), originals=(priced,)), "pool")
    assert "Priced in other currencies\n  kind  name      money  currency\n" in as_table(shown)
    assert "  rent  cloud  1,200.50       USD\n" in as_table(shown)
    assert json.loads(as_json(shown))["originals"] == [
        {"kind": "rent", "name": "cloud", "currency": "USD", "money": "1200.50"}
    ]


def test_what_goes_by_declared_weights_is_estimated() -> None:
    mixed = 'served_models = { "small" = 0.25, "large" = 0.75 }'
    later = SITE.replace('served_model = "llama"', f"{mixed}\nvalid_from = 2026-10-15")
    assert declared_models(site(later), WINDOW) == ("large", "small")
    assert declared_models(site(later), SEPTEMBER) == declared_models(site(), WINDOW) == ()
    of = msgspec.structs.replace(fixed(), declared_models=("llama",))
    labels = {f.name: f.label for f in statement(of, "served-model").figures["llama"]}
    cost, idle = labels["cost_per_million_output_tokens"], labels["idle_capacity_ratio"]
    assert cost.endswith(", estimated by declared weights")
    assert "estimated" not in idle
    # Together they are whole, whatever the weights.
    for view in (statement(of, "pool"), statement(fixed(), "served-model")):
        labels_of_all = [f.label for found in view.figures.values() for f in found]
        assert not any("declared" in label for label in labels_of_all)
    assert not any("declared" in f.label for f in statement(of, "served-model").figures["total"])


def test_what_no_served_model_holds_is_unattributed() -> None:
    found = statement(fixed(), "served-model")
    money: dict[str, Decimal] = {}
    for cell in found.cells:
        money[cell.group] = money.get(cell.group, Decimal(0)) + cell.money
    assert money == {"llama": Decimal("1350.13"), "unattributed": Decimal("513.00")}
    (cost,) = [f for f in found.figures["unattributed"] if f.name == "cost_per_million_tokens"]
    assert cost.value is None
    assert {c.group for c in statement(fixed(), "tenant").cells} == {"acme", "none"}


def test_the_csv_has_a_line_for_each_cell() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(statement(fixed(), "pool")))))
    shared = ["site", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "EUR", "pool"]
    assert rows[0] == list(CSV_COLUMNS)
    assert rows[1] == [*shared, "chat", "capital", "active", "1000.10", ""]
    assert rows[-1] == [*shared, "chat", "energy", "active", "-1.25", "2026-09"]


FOCUS_CASES = [
    (
        {"x_CostKind": "capital", "x_DeviceState": "active"},
        {
            "BilledCost": "1000.10",
            "ChargeCategory": "Usage",
            "ChargeClass": "",
            "ConsumedQuantity": "500",
            "ConsumedUnit": "GPU-Hours",
            "InvoiceId": "site-open-incomplete",
            "SubAccountId": "acme",
            "x_ServedModel": "llama",
        },
    ),
    (
        {"x_CostKind": "energy", "x_DeviceState": "active", "ChargeClass": ""},
        {"BilledCost": "300.03", "ConsumedQuantity": "1000", "ConsumedUnit": "kWh"},
    ),
    (
        {"ChargeClass": "Correction"},
        {
            "BilledCost": "-1.25",
            "ChargePeriodStart": "2026-08-31T22:00:00Z",
            "ChargePeriodEnd": "2026-09-30T22:00:00Z",
            "BillingPeriodStart": "2026-09-30T22:00:00Z",
            "x_CostKind": "energy",
        },
    ),
    (
        {"x_CostKind": "demand"},
        {"BilledCost": "-7.00", "ResourceId": "none", "x_DeviceState": "unknown"},
    ),
    (
        {"SkuMeter": "Output Tokens"},
        {
            "BilledCost": "0",
            "ConsumedQuantity": "2000000",
            "PricingQuantity": "2",
            "PricingUnit": "1000000 Tokens",
            "x_CostKind": "",
        },
    ),
    ({"SkuMeter": "Input Tokens"}, {"ConsumedQuantity": "4000000"}),
    ({"SkuMeter": "Cached Input Tokens"}, {"ConsumedQuantity": "1000000"}),
]


@pytest.mark.parametrize(("chosen", "expected"), FOCUS_CASES)
def test_focus_rows(chosen: dict[str, str], expected: dict[str, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_focus(fixed()))))
    assert tuple(rows[0]) == focus.COLUMNS
    assert len(rows) == 6 + 1 + 3
    (row,) = [row for row in rows if chosen.items() <= row.items()]
    assert {column: row[column] for column in expected} == expected


def test_a_closed_statement_is_named_by_its_number() -> None:
    closing = Closing(number=2, period="2026-10", closed_at_seconds=WINDOW[1], ledger_hash="f00d")
    closed = msgspec.structs.replace(fixed(), closing=closing, reasons=())
    rows = list(csv.DictReader(io.StringIO(as_focus(closed))))
    assert {row["InvoiceId"] for row in rows} == {"site-2026-10-2"}
    table = as_table(statement(closed, "pool")).splitlines()
    assert table[0] == "Statement 2, 2026-10 of site"
    assert "ledger    f00d" in table
    assert "total     1,861.88 EUR" in table


def read(at: int, joules: float, *, epoch: int = 0) -> wire.Register:
    return wire.Register(at_milliseconds=at * 1000, register_joules=joules, epoch=epoch)


def test_registers_are_those_nearest_to_both_ends() -> None:
    begins, ends = WINDOW
    readings = [
        read(begins - 900, 1.0),
        read(begins + 2, 5.0),
        read(begins + 902, 7.0),
        read(ends - 3, 95.0),
        read(ends + 897, 99.0),
    ]
    found = meter_register("m", {"node-1": readings}, WINDOW, 90.5)
    assert (found.opening, found.closing, found.counted) == (5.0, 95.0, 90.0)
    assert found.difference == pytest.approx(-0.5)
    assert found.note is None


@pytest.mark.parametrize(
    ("readings", "note"),
    [
        ([], "no register was read near both ends of the window"),
        ([read(WINDOW[0], 1.0)], "no register was read near both ends of the window"),
        (
            [read(WINDOW[0], 9.0), read(WINDOW[1], 1.0, epoch=1)],
            "the register began anew within the window: see its readings",
        ),
    ],
)
def test_a_register_that_says_nothing_of_the_window_has_a_note(
    readings: list[wire.Register], note: str
) -> None:
    found = meter_register("m", {"node-1": readings}, WINDOW, 1.0)
    assert (found.counted, found.difference, found.note) == (None, None, note)


def test_each_reader_of_a_meter_counts_epochs_of_its_own() -> None:
    begins, ends = WINDOW
    # The second has seen more resets than the first, and reads nearer to the end.
    readings = {
        "node-2": [read(begins + 9, 6.0, epoch=3), read(ends, 95.0, epoch=3)],
        "node-1": [read(begins, 5.0), read(ends + 20, 97.0)],
    }
    found = meter_register("m", readings, WINDOW, 92.0)
    assert (found.opening, found.closing, found.counted) == (5.0, 97.0, 92.0)
    readings["node-1"].pop()
    found = meter_register("m", readings, WINDOW, 89.0)
    assert (found.opening, found.closing, found.counted) == (6.0, 95.0, 89.0)
    # One followed the other.
    apart = {"node-1": [read(begins, 5.0)], "node-2": [read(ends, 95.0)]}
    assert meter_register("m", apart, WINDOW, 90.0).counted == 90.0


def test_a_meter_of_volume_is_in_litres() -> None:
    readings = [
        wire.Register(at_milliseconds=at * 1000, register_litres=litres, epoch=0)
        for at, litres in zip(WINDOW, (100.0, 350.0), strict=True)
    ]
    found = meter_register("city", {"node-1": readings}, WINDOW, 250.0)
    assert (found.unit, found.counted, found.difference) == ("litres", 250.0, 0.0)


@pytest.mark.parametrize("window", [(0, 0), (900, 0), (1, 900), (0, 901)])
def test_a_window_is_of_whole_quarter_hours(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="full quarter hours"):
        whole_quarters(*window)
    assert whole_quarters(0, 900) == (0, 900)


def test_quarters_without_a_rollup_are_noted() -> None:
    note = "3 quarter hours have no rollup: what they cost is under unknown"
    assert made({}, missing=3).notes == (note,)
    assert made({}).notes == ()
