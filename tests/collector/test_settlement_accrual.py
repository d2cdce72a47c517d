"""What accrues by time, against amounts that a person can work out."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.kinds import SECONDS_KINDS
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.settlement.accrual import Accrual, accruals, contract_rate
from meterhouse_collector.settlement.dues import Bill, site_bill
from meterhouse_collector.settlement.exchange import originals, rates_used
from meterhouse_collector.settlement.rates import RateBook, rates_of, registered
from meterhouse_collector.settlement.reading import cut
from meterhouse_collector.settlement.supplies import SiteQuarter
from meterhouse_collector.site.index import SiteIndex
from tests.collector.bills import instant
from tests.collector.settled import SITE, interval, site

DAY = 86_400
HEAD = """
name = "site"
currency = "EUR"
time_zone = "Europe/Berlin"
[[pool]]
name = "chat"
cluster = "c1"
[[pool]]
name = "spare"
cluster = "c1"
"""
HARDWARE = """
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 1825
life = "1825d"
"""
ASSET = """
[[asset]]
node = "n1"
pool = "chat"
accelerator_model = "M"
devices = 2
in_service = 2026-01-01
"""
# Places of a decimal that divisions by a life may lose.
CLOSE = Decimal("1e-18")


def found(text: str, begins: str, ends: str) -> list[Accrual]:
    return accruals(site(HEAD + text), instant(begins), instant(ends))


def amount(text: str, begins: str, ends: str, kind: str = "capital") -> Decimal:
    entries = [entry for entry in found(text, begins, ends) if entry.kind == kind]
    known = [entry.amount for entry in entries if entry.amount is not None]
    assert len(known) == len(entries)
    return add(known)


def test_capital_is_a_straight_line_of_seconds() -> None:
    # One euro a day and device.
    whole = amount(HARDWARE + ASSET, "2026-01-10", "2026-01-11")
    assert whole == pytest.approx(Decimal(2), abs=CLOSE)
    # The day that the clocks go forward has 23 hours.
    short = amount(HARDWARE + ASSET, "2026-03-29", "2026-03-30")
    assert short == pytest.approx(Decimal(2) * 23 / 24, abs=CLOSE)


def test_capital_sums_to_the_price_less_salvage_and_ends_with_the_life() -> None:
    text = HARDWARE + "salvage_per_device = 100\n" + ASSET
    assert amount(text, "2025-06-01", "2040-01-01") == Decimal(2 * 1725)
    assert found(text, "2032-01-01", "2032-02-01") == []
    assert found(text, "2025-06-01", "2025-07-01") == []


def test_a_device_that_is_retired_costs_nothing_more() -> None:
    text = HARDWARE + ASSET + "retired = 2026-02-01\n"
    assert amount(text, "2026-01-31", "2026-02-02") == pytest.approx(Decimal(2), abs=CLOSE)
    assert found(text, "2026-02-01", "2026-03-01") == []


def test_an_annuity_pays_the_capital_recovery_factor_each_year() -> None:
    how = 'depreciation = "annuity"\ncost_of_capital = 0.08\nsalvage_per_device = 100\n'
    growth = Decimal("1.08") ** 5
    factor = Decimal("0.08") * growth / (growth - 1)
    yearly = 1825 * factor - 100 * (factor - Decimal("0.08"))
    year = amount(HARDWARE + how + ASSET, "2026-01-01", "2027-01-01")
    assert year == pytest.approx(2 * yearly, abs=CLOSE)


def test_what_is_delivered_and_waits_costs_too_and_its_life_runs() -> None:
    text = HARDWARE + ASSET + "delivered = 2025-12-01\npurchased = 2025-11-01\n"
    entries = found(text, "2025-12-31", "2026-01-02")
    waiting: list[tuple[bool, object]] = [(entry.waits, entry.amount) for entry in entries]
    assert waiting == [
        (True, pytest.approx(Decimal(2), abs=CLOSE)),
        (False, pytest.approx(Decimal(2), abs=CLOSE)),
    ]
    assert amount(text, "2025-01-01", "2040-01-01") == Decimal(2 * 1825)
    assert found(text, "2025-11-01", "2025-12-01") == []


def test_support_accrues_by_year_of_service() -> None:
    text = HARDWARE + "support_per_device_year = 365\n" + ASSET
    support = amount(text, "2026-01-10", "2026-01-11", "operations")
    assert support == pytest.approx(Decimal(2), abs=CLOSE)


def test_a_model_without_a_price_has_a_reason_and_no_zero() -> None:
    (entry,) = found(ASSET, "2026-01-10", "2026-01-11")
    assert entry.amount is None
    assert entry.reason == "M: no [[hardware]] price on 2026-01-01"


SHARED = """
[[shared_equipment]]
name = "fabric"
kind = "network"
price = 18250
in_service = 2026-02-01
purchased = 2026-01-01
life = "1825d"
support_per_year = 3650
"""


def test_shared_equipment_costs_from_its_purchase_and_its_support_from_service() -> None:
    assert amount(SHARED, "2026-01-10", "2026-01-11") == pytest.approx(Decimal(10), abs=CLOSE)
    assert found(SHARED, "2025-12-30", "2026-01-01") == []
    support = amount(SHARED, "2026-01-10", "2026-02-11", "operations")
    assert support == pytest.approx(Decimal(100), abs=CLOSE)
    retired = SHARED + "retired = 2026-03-01\n"
    assert amount(retired, "2026-02-28", "2026-04-01") == pytest.approx(Decimal(10), abs=CLOSE)


def operations(per: str, amount_money: int, more: str = "") -> str:
    return (
        f'[[operations]]\nname = "staff"\nkind = "staff"\namount = {amount_money}\n'
        f'per = "{per}"\nvalid_from = 2026-01-01\n{more}'
    )


@pytest.mark.parametrize(
    ("begins", "ends", "share"),
    [
        ("2026-10-01", "2026-11-01", Decimal(1)),
        # October has 745 hours in Berlin, for the clocks go back; that day has 25.
        ("2026-10-25", "2026-10-26", Decimal(25) / 745),
        # And March 743, with a day of 23.
        ("2026-03-29", "2026-03-30", Decimal(23) / 743),
        ("2026-02-28", "2026-03-02", Decimal(24) / 672 + Decimal(24) / 743),
    ],
)
def test_operations_by_month_go_by_the_hours_of_their_month(
    begins: str, ends: str, share: Decimal
) -> None:
    found_money = amount(operations("month", 1000), begins, ends, "operations")
    assert found_money == pytest.approx(1000 * share, abs=CLOSE)


def test_operations_by_year_go_by_the_hours_of_the_year() -> None:
    text = operations("year", 8760, "valid_to = 2026-01-03\n")
    assert amount(text, "2026-01-01", "2026-01-02", "operations") == pytest.approx(
        Decimal(24), abs=CLOSE
    )
    # They begin and end with their days.
    assert amount(text, "2025-12-01", "2026-02-01", "operations") == pytest.approx(
        Decimal(48), abs=CLOSE
    )


def contract(rate_per: str, rate: int, more: str = "") -> str:
    return (
        '[[contract]]\nname = "rented"\nside = "bought"\ncounterparty = "Neocloud"\n'
        f'pools = ["spare"]\nunits = 4\nrate = {rate}\nrate_per = "{rate_per}"\n'
        f"valid_from = 2026-01-01\nvalid_to = 2026-12-01\n{more}"
    )


RAMP = "ramp = [{ begins = 2026-02-10, units = 1 }, { begins = 2026-02-20, units = 3 }]\n"


@pytest.mark.parametrize(
    ("text", "begins", "ends", "money"),
    [
        (contract("unit_hour", 2), "2026-02-01", "2026-02-02", Decimal(4 * 24 * 2)),
        (contract("unit_hour", 2), "2026-10-25", "2026-10-26", Decimal(4 * 25 * 2)),
        (contract("unit_month", 280), "2026-02-01", "2026-03-01", Decimal(4 * 280)),
        (contract("month", 280), "2026-02-01", "2026-02-02", Decimal(10)),
        (contract("unit_month", 280, RAMP), "2026-02-01", "2026-03-01", Decimal(10 * 10 + 9 * 30)),
        # For the whole a month is due from the first unit on.
        (contract("month", 280, RAMP), "2026-02-01", "2026-03-01", Decimal(190)),
        (contract("unit_hour", 2), "2026-11-30", "2027-01-01", Decimal(4 * 24 * 2)),
    ],
)
def test_a_contract_costs_by_its_unit_and_ramp(
    text: str, begins: str, ends: str, money: Decimal
) -> None:
    assert amount(text, begins, ends, "rent") == pytest.approx(money, abs=CLOSE)


def test_rent_is_avoidable_with_notice_and_what_is_sold_is_no_cost() -> None:
    (entry,) = found(contract("unit_hour", 2, 'notice = "90d"\n'), "2026-02-01", "2026-02-02")
    assert (entry.avoidable, entry.pools) == (True, ("spare",))
    sold = (
        contract("unit_hour", 2)
        .replace('"bought"', '"sold"')
        .replace("counterparty", 'tenant = "acme"\ncounterparty')
    )
    assert found('[[tenant]]\nname = "acme"\n' + sold, "2026-02-01", "2026-02-02") == []


RATES = """
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = 0.5
valid_from = 2026-01-01
source = "made up"
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = 0.9
valid_from = 2026-06-01
source = "made up"
"""


def test_capital_is_converted_at_the_rate_of_its_purchase_and_rent_at_that_of_its_day() -> None:
    dollars = HARDWARE.replace("1825\n", '1825\ncurrency = "USD"\n') + ASSET
    assert amount(RATES + dollars, "2026-07-01", "2026-07-02") == pytest.approx(
        Decimal(1), abs=CLOSE
    )
    rent = contract("unit_hour", 2, 'currency = "USD"\n')
    assert amount(RATES + rent, "2026-07-01", "2026-07-02", "rent") == pytest.approx(
        Decimal("0.9") * 192, abs=CLOSE
    )


def test_shared_equipment_keeps_the_rate_of_its_purchase_as_devices_do() -> None:
    dollars = SHARED + 'currency = "USD"\n'
    # 18,250 over 1,825 days, half of it in January as in July.
    for day in ("2026-01-10", "2026-07-01"):
        after = f"{day[:-2]}{int(day[-2:]) + 1:02}"
        capital = amount(RATES + dollars, day, after)
        assert capital == pytest.approx(Decimal(5), abs=CLOSE)


def test_rent_over_a_change_of_rates_is_that_of_its_days() -> None:
    rent = contract("unit_hour", 2, 'currency = "USD"\n')
    both = amount(RATES + rent, "2026-05-30", "2026-06-02", "rent")
    assert both == pytest.approx(192 * (2 * Decimal("0.5") + Decimal("0.9")), abs=CLOSE)
    (whole,) = site(HEAD + RATES + rent).model.contract
    window = instant("2026-05-30"), instant("2026-06-02")
    found = contract_rate(site(HEAD + RATES + rent).model, whole, *window)
    assert (found.original_currency, found.original) == ("USD", Decimal(3 * 192))


def test_rates_that_are_used_have_their_day_and_source() -> None:
    rent = contract("unit_hour", 2, 'currency = "USD"\n')
    index = site(HEAD + RATES + rent)
    january, may, july = (instant(f"2026-{day}") for day in ("01-10", "05-30", "07-01"))
    days = [
        [str(rate.valid_from) for rate in rates_used(index, window)]
        for window in ((january, may), (may, july), (july, july + 900))
    ]
    assert days == [["2026-01-01"], ["2026-01-01", "2026-06-01"], ["2026-06-01"]]
    # What was bought in January keeps its rate; without a price in dollars there is none.
    bought = site(HEAD + RATES + SHARED + 'currency = "USD"\n')
    assert [str(r.valid_from) for r in rates_used(bought, (july, july + 900))] == [
        "2026-01-01",
        "2026-06-01",
    ]
    assert rates_used(site(HEAD + RATES), (january, july)) == ()


DOLLARS = 'currency = "USD"\n'
TARIFF = f"""
[[tariff]]
name = "grid"
valid_from = 2026-01-01
per_kwh = 0.10
{DOLLARS}"""


def test_the_original_amounts_are_kept_whatever_the_rate() -> None:
    text = HARDWARE.replace("1825\n", f"1825\n{DOLLARS}") + ASSET
    text += ASSET.replace("n1", "n2") + operations("month", 310)
    text += contract("unit_hour", 2, DOLLARS) + SHARED + TARIFF
    # The rate changes within the window.
    index = site(HEAD + RATES + text)
    window = instant("2026-05-30"), instant("2026-06-02")
    quarters = [
        SiteQuarter(start_seconds=start, billed_joules=3.6e7) for start in range(*window, 900)
    ]
    lines = site_bill(index.model, quarters).lines
    found = {(o.kind, o.name, o.currency): o.money for o in originals(index, window, lines)}
    assert found == {
        ("capital", "M", "USD"): Decimal("12.00"),
        ("rent", "rented", "USD"): Decimal("576.00"),
        ("energy", "energy", "USD"): Decimal("288.00"),
    }
    # Half a day of it: a bill is made for whole months and cut.
    half = cut(Bill((), lines), 0, 48).lines
    (energy,) = (o.money for o in originals(index, window, half) if o.kind == "energy")
    assert energy == 48
    at_home = site(HEAD + RATES + HARDWARE + ASSET)
    assert originals(at_home, window, site_bill(at_home.model, quarters).lines) == ()


def test_without_a_rate_there_is_no_amount() -> None:
    rent = contract("unit_hour", 2, 'currency = "USD"\n')
    model = site(HEAD + RATES + rent).model.model_copy(update={"exchange_rate": ()})
    (entry,) = accruals(SiteIndex(model), instant("2026-07-01"), instant("2026-07-02"))
    assert (entry.amount, entry.reason) == (
        None,
        "no exchange rate from USD to EUR on 2026-07-01",
    )


ALL = HARDWARE + ASSET + SHARED + operations("month", 1000) + contract("unit_hour", 2)


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=4))
def test_windows_that_touch_cost_what_the_whole_costs(quarters: list[int]) -> None:
    index = site(HEAD + ALL)
    edges = [instant("2025-12-01")]
    for count in quarters:
        edges.append(edges[-1] + count * 900)
    for kind in SECONDS_KINDS:
        parts = [
            add(e.amount or Decimal(0) for e in accruals(index, *window) if e.kind == kind)
            for window in (*pairwise(edges), (edges[0], edges[-1]))
        ]
        assert add(parts[:-1]) == pytest.approx(parts[-1], abs=CLOSE)


def test_rates_times_device_seconds_are_what_accrues() -> None:
    index = site(SITE)
    start = instant("2026-10-25T02:00+02:00")
    book = RateBook(index)
    groups = roll_up(interval(start), index, rates=book.at(start))
    entries = accruals(index, start, start + 900)
    for kind in SECONDS_KINDS:
        rolled = sum(
            sums[f"{state}_{kind}_money"]
            for sums in groups.values()
            for state in ("active", "held_idle", "free", "unhealthy", "unknown")
        )
        due = add(e.amount or Decimal(0) for e in entries if e.kind == kind)
        assert rolled == pytest.approx(float(due), rel=1e-9)


def test_an_entry_is_spread_over_the_devices_that_it_is_for() -> None:
    entries = [
        Accrual("operations", "all", Decimal(30)),
        Accrual("rent", "spare", Decimal(8), ("spare",)),
        Accrual("capital", "waits", Decimal(5), ("chat",), "M", waits=True),
        Accrual("rent", "nobody's", Decimal(2), ("empty",)),
    ]
    devices = Counter({("chat", "M"): 2, ("spare", "M"): 1})
    rates = rates_of(entries, devices, 10)
    assert rates.devices[("chat", "M")] == (0.0, 0.0, 1.0)
    assert rates.devices[("spare", "M")] == (0.0, 0.8, 1.0)
    assert rates.unplaced == (0.5, 0.2, 0.0)


def test_a_price_that_is_not_known_makes_the_rate_of_its_devices_unknown() -> None:
    entries = [Accrual("rent", "spare", None, ("spare",), reason="no rate")]
    rates = rates_of(entries, {("chat", "M"): 2, ("spare", "M"): 1}, 10)
    assert rates.devices == {("spare", "M"): None}


def test_the_register_counts_devices_by_pool_and_model() -> None:
    index = site(HEAD + HARDWARE + ASSET + "retired = 2026-05-01\n")
    assert registered(index, instant("2026-04-30")) == {("chat", "M"): 2}
    assert registered(index, instant("2026-05-01")) == {}


def test_what_another_of_its_name_follows_ends_there() -> None:
    """Both together would cost three times as much as the first."""
    first = operations("month", 1000)
    text = first + first.replace("1000", "2000").replace("2026-01-01", "2026-06-01")
    for month, money in (("2026-05", 1000), ("2026-07", 2000)):
        begins, ends = f"{month}-01", f"2026-{int(month[-2:]) + 1:02}-01"
        assert amount(text, begins, ends, "operations") == pytest.approx(Decimal(money), abs=CLOSE)
    rented = contract("unit_hour", 2).replace("valid_to = 2026-12-01\n", "")
    text = rented + rented.replace("rate = 2", "rate = 5").replace("2026-01-01", "2026-06-01")
    found_money = amount(text, "2026-05-31", "2026-06-02", "rent")
    assert found_money == pytest.approx(Decimal(24 * 4 * (2 + 5)), abs=CLOSE)
