"""Planned maintenance and what the tenant caused: with and without them, and what is credited."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.alerts.conditions import supply
from meterhouse_collector.alerts.state import Observation, Rule, State, step
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.money.delivery import contract_delivery
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.capacity import ContractTotal, contract_totals
from meterhouse_collector.settlement.documents import document
from meterhouse_collector.settlement.outages import Counted, counted, counted_all
from meterhouse_collector.settlement.statement import Statement, statement
from meterhouse_collector.settlement.table import as_table
from meterhouse_collector.settlement.traded import Delivered, Traded
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.index import GroupKey, SiteIndex
from tests.collector.alerting import known, sums, threshold, verdict
from tests.collector.bills import instant
from tests.collector.settled import SITE, site
from tests.collector.sites import faults

DAY = (instant("2026-11-02"), instant("2026-11-03"))
CONTRACT = """
[[contract]]
name = "gpus"
side = "sold"
tenant = "acme"
counterparty = "Acme"
pools = ["chat"]
unit = "node"
units = 4
rate = 1
valid_from = 2026-11-01
valid_to = 2026-12-01
credit = [{ below_ratio = 0.999, credit_ratio = 0.1 }]
"""
# Four hours in which one of four nodes is down: 1/24 of the day is lost.
WORK = (
    "{ begins = 2026-11-02T06:00:00+01:00, ends = 2026-11-02T10:00:00+01:00, units = 1,"
    ' reason = "planned", agreed_by = "Acme, ticket 4711" }'
)
CAUSED = WORK.replace('"planned"', '"tenant_caused"')
EXCLUDES = "excludes_planned = true\nexcludes_tenant_caused = true\n"
WHOLE = 32 * 900.0  # 4 nodes of 8 devices, for a quarter hour


def of(text: str) -> tuple[SiteIndex, CapacityContract]:
    index = site(SITE + CONTRACT + text)
    return index, index.model.contract[0]


def day(down: range, part: float, *, unknown: bool = False) -> dict[int, Delivered]:
    """Return the quarters of a day, in some of which this part is not delivered, or not known."""
    found = {}
    for number in range(96):
        lost = WHOLE * part if number in down else 0.0
        found[DAY[0] + 900 * number] = Delivered(WHOLE, WHOLE - lost, lost if unknown else 0.0)
    return found


def total(text: str, quarters: dict[int, Delivered]) -> ContractTotal:
    index, _ = of(text)
    (only,) = contract_totals(index, DAY, Traded({("sold", "acme"): quarters}, {}))
    return only


AT_WORK = range(24, 40)


@pytest.mark.parametrize(
    ("text", "excluded", "ratio", "credit"),
    [
        # Without an outage in the site model, and with one that the contract does not exclude.
        ("", 0.0, 1 - 1 / 24, "9.60"),
        (f"outage = [{WORK}]\n", 0.0, 1 - 1 / 24, "9.60"),
        (f"excludes_tenant_caused = true\noutage = [{WORK}]\n", 0.0, 1 - 1 / 24, "9.60"),
        # One node of four for four hours of 24: 8 devices * 4 h leave what is due, none is lost.
        (f"excludes_planned = true\noutage = [{WORK}]\n", 8 * 4 * 3600.0, 1.0, "0.00"),
        (f"excludes_tenant_caused = true\noutage = [{CAUSED}]\n", 8 * 4 * 3600.0, 1.0, "0.00"),
    ],
)
def test_what_a_contract_excludes_is_no_loss_of_delivery(
    text: str, excluded: float, ratio: float, credit: str
) -> None:
    found = total(text, day(AT_WORK, 1 / 4))
    assert found.ratios == pytest.approx((1 - 1 / 24,) * 2)
    assert found.excluded_seconds == pytest.approx(excluded)
    assert found.counted_ratios == pytest.approx((ratio,) * 2)
    assert found.high_credit_money == Decimal(credit)


def test_a_failure_beside_the_work_is_still_a_loss() -> None:
    text = f"{EXCLUDES}outage = [{WORK}]\n"
    # Two nodes down in the four hours, of which one is planned: 3 are due, 2 came.
    found = total(text, day(AT_WORK, 2 / 4))
    assert found.counted_ratios == pytest.approx((1 - 4 / (96 - 4),) * 2)
    # One node down after the work is over: the window ends where it was agreed to.
    late = total(text, day(range(40, 44), 1 / 4))
    assert late.counted_ratios == pytest.approx((1 - 1 / (96 - 4),) * 2)


def test_a_silent_node_in_maintenance_is_excluded_as_well() -> None:
    text = f"{EXCLUDES}outage = [{WORK}]\n"
    found = total(text, day(AT_WORK, 1 / 4, unknown=True))
    assert found.ratios == pytest.approx((1 - 1 / 24, 1.0))
    assert found.counted_ratios == pytest.approx((1.0, 1.0))


def test_an_outage_of_all_units_that_covers_a_window_leaves_nothing_due_and_no_credit() -> None:
    work = (
        WORK.replace("T06:00", "T00:00").replace("02T10:00", "03T00:00").replace("units = 1,", "")
    )
    found = total(f"{EXCLUDES}outage = [{work}]\n", day(range(96), 1.0))
    assert found.counted_ratios == (None, None)
    assert found.excluded_seconds == pytest.approx(96 * WHOLE)
    assert found.high_credit_money == Decimal("0.00")


def test_both_reasons_are_told_apart_with_who_agreed() -> None:
    later = CAUSED.replace("T06:00", "T12:00").replace("T10:00", "T12:30")
    found = total(f"excludes_planned = true\noutage = [{WORK}, {later}]\n", day(AT_WORK, 1 / 4))
    assert (found.planned_seconds, found.tenant_caused_seconds) == (8 * 14400.0, 8 * 1800.0)
    assert found.notes == (
        (
            "gpus: planned maintenance from 2026-11-02 06:00 +0100 to 2026-11-02 10:00 +0100,"
            " 1 node, agreed by Acme, ticket 4711, is excluded by the contract"
        ),
        (
            "gpus: outage that the tenant caused from 2026-11-02 12:00 +0100 to 2026-11-02 12:30"
            " +0100, 1 node, agreed by Acme, ticket 4711, is not excluded by the contract"
        ),
    )


parts = st.floats(0, 1)


@given(delivered=parts, unknown=parts, lasted=st.integers(0, 900), units=st.integers(1, 4))
def test_a_quarter_hour_counts_as_the_formula_says(
    delivered: float, unknown: float, lasted: int, units: int
) -> None:
    ends = f"06:{lasted // 60:02}:{lasted % 60:02}" if lasted else "06:15:00"
    begins = "06:00:00" if lasted else "05:00:00"
    work = WORK.replace("06:00:00", begins).replace("10:00:00", ends)
    lasted = lasted or 900
    index, contract = of(f"{EXCLUDES}outage = [{work.replace('units = 1', f'units = {units}')}]\n")
    found = Delivered(WHOLE, WHOLE * delivered, WHOLE * (1 - delivered) * unknown)
    counts = counted(index.model, contract, instant("2026-11-02T06:00"), found)
    same = contract_delivery(
        contracted_hours=found.contracted,
        delivered_hours=found.delivered,
        unknown_hours=found.undetermined,
        excluded_hours=WHOLE * units / 4 * lasted / 900,
        price_money_per_hours=1,
    )
    assert counts.due == pytest.approx(float(same.contracted_money), abs=1e-6)
    assert counts.low == pytest.approx(float(same.low_money), abs=1e-6)
    assert counts.high == pytest.approx(float(same.high_money), abs=1e-6)
    assert 0 <= counts.low <= counts.high <= counts.due <= found.contracted


@given(st.lists(parts, min_size=8, max_size=8), st.integers(0, 8))
def test_quarter_hours_add_up_over_disjoint_windows(found: list[float], cut: int) -> None:
    index, contract = of(f"{EXCLUDES}outage = [{WORK}]\n")
    first = instant("2026-11-02T05:00")
    all_of = {first + 900 * n: Delivered(WHOLE, WHOLE * p, 0.0) for n, p in enumerate(found)}
    starts = list(all_of)
    one, other = (
        counted_all(index.model, contract, {start: all_of[start] for start in part})
        for part in (starts[:cut], starts[cut:])
    )
    both = counted_all(index.model, contract, all_of)
    assert both == pytest.approx(tuple(a + b for a, b in zip(one, other, strict=True)))
    assert counted_all(index.model, contract, {}) == Counted(0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_statement_shows_delivery_with_and_without_what_is_excluded() -> None:
    found = total(f"excludes_planned = true\noutage = [{WORK}]\n", day(AT_WORK, 1 / 4))
    seen: Statement = statement(account(found), "site")
    rows = [line.split() for line in as_table(seen).splitlines() if "without" not in line]
    (row,) = [row for row in rows if row[:2] == ["gpus", "32.00"]]
    assert row == [
        "gpus",
        "32.00",
        "0.00",
        "32.00",
        "95.8333%",
        "95.8333%",
        *["100.0000%"] * 2,
    ]
    (told,) = document(seen)["contracts"]
    assert told["counterparty"] == "Acme"
    assert told["planned_seconds"] == told["excluded_seconds"] == 8 * 14400.0
    assert told["delivered_low_ratio"] == pytest.approx(23 / 24)
    assert (told["counted_low_ratio"], told["counted_high_ratio"]) == (1.0, 1.0)


FIRST = "contract.0.outage.0"


@pytest.mark.parametrize(
    ("outage", "fault"),
    [
        (
            WORK.replace("11-02T06", "10-30T06"),
            (
                f"{FIRST}.begins: found 2026-10-30 06:00:00+01:00, allowed: within gpus, from"
                " 2026-11-01 on"
            ),
        ),
        (
            WORK.replace("02T10", "02T05"),
            f"{FIRST}: found {{'begins': datetime",
        ),
        (
            WORK.replace("ends = 2026-11-02T10", "ends = 2026-12-02T10"),
            (
                f"{FIRST}.ends: found 2026-12-02 10:00:00+01:00, allowed: within gpus, until"
                " 2026-12-01"
            ),
        ),
        (
            WORK.replace("units = 1", "units = 5"),
            f"{FIRST}: found 5 units on 2026-11-02, allowed: at most 4",
        ),
        (
            f"{WORK}, {WORK.replace('T06', 'T09').replace('T10', 'T11')}",
            (
                "contract.0.outage.1.begins: found 2026-11-02 09:00:00+01:00, while"
                " contract.0.outage.0 lasts, allowed: one entry at a time for a reason, with the"
                " units of both"
            ),
        ),
        (
            f"{WORK}, {CAUSED.replace('units = 1', 'units = 4')}",
            (
                "contract.0.outage.1.begins: found 2026-11-02 06:00:00+01:00, while"
                " contract.0.outage.0 lasts, allowed: no more units in both than are contracted"
            ),
        ),
    ],
)
def test_outages_that_contradict_their_contract_or_each_other(outage: str, fault: str) -> None:
    (found, *_) = faults(f"{SITE}{CONTRACT}outage = [{outage}]\n")
    assert found.startswith(f"site.toml: {fault}")


def test_two_reasons_at_once_are_of_different_units() -> None:
    index, contract = of(f"{EXCLUDES}outage = [{WORK}, {CAUSED}]\n")
    found = Delivered(WHOLE, WHOLE / 2, 0.0)
    counts = counted(index.model, contract, instant("2026-11-02T07:00"), found)
    assert (counts.due, counts.low_ratio) == (WHOLE / 2, 1.0)


NOW = datetime.fromtimestamp(1e9, UTC)  # when what is known for alerts is known
ACME, OTHER = (GroupKey("site", tenant=tenant) for tenant in ("acme", "other"))


def sold(text: str, *more: str, units: int = 1) -> SiteIndex:
    """Return a site whose work on units of four lasts from an hour before to an hour after."""
    begins, ends = (NOW + timedelta(hours=hours) for hours in (-1, 1))
    contract = CONTRACT.replace("2026-11-01", "2001-01-01").replace("2026-12-01", "2002-01-01")
    work = f"begins = {begins.isoformat()}, ends = {ends.isoformat()}, units = {units}"
    outage = f'outage = [{{ {work}, reason = "planned", agreed_by = "Acme" }}]\n'
    return site(SITE + contract + text + outage + "".join(more))


def alert(index: SiteIndex, **groups: float) -> list[Observation]:
    watch = threshold("under_delivered", below=0.99)
    found = {
        group: sums(sold_contracted_seconds=100.0, sold_delivered_seconds=groups[group.tenant])
        for group in (ACME, OTHER)
        if group.tenant in groups
    }
    return supply.under_delivered(watch, known(found, of=index))


def test_nobody_is_woken_for_work_that_was_agreed_to() -> None:
    excluded, counts = sold("excludes_planned = true\n"), sold("")
    (found,) = alert(excluded, acme=75.0)
    assert (found.value, verdict(found)) == (1.0, "clears")
    (found,) = alert(counts, acme=75.0)
    assert (found.value, verdict(found)) == (0.75, "fires")
    # A failure beside the work, and that of another tenant.
    (found,) = alert(excluded, acme=60.0)
    assert (found.value, verdict(found)) == (60 / 75, "fires")
    (found,) = alert(excluded, acme=75.0, other=50.0)
    assert found.value == pytest.approx(125 / 175)
    assert alert(excluded) == []


def test_work_on_all_units_leaves_no_value_and_ends_no_alert() -> None:
    (found,) = alert(sold("excludes_planned = true\n", units=4), acme=0.0)
    assert (found.value, verdict(found)) == (None, "unknown")
    firing = State("firing", 0.0, 0.5, 0.99)
    rule = Rule("watch", "under_delivered", "page", 0.0)
    assert step(firing, found, rule, 1e9) == (firing, ())


def test_what_several_contracts_delivered_together_is_not_split() -> None:
    second = CONTRACT.replace('"gpus"', '"more"').replace("2026-1", "2001-1")
    (found,) = alert(sold("excludes_planned = true\n", second.replace("11-01", "01-01")), acme=75.0)
    assert found.value == 0.75


def account(contract: ContractTotal) -> Account:
    return Account(
        site="site",
        begins_seconds=DAY[0],
        ends_seconds=DAY[1],
        time_zone="Europe/Berlin",
        currency="EUR",
        basis=energy_basis(site(), DAY),
        lines=(),
        sums=(),
        bill=(),
        registers=(),
        missing_quarters=0,
        revision=0,
        model_revision="m",
        provisional=False,
        reasons=(),
        notes=(),
        contracts=(contract,),
    )
