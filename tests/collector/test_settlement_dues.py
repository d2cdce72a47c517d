"""What the joules, the fuel and the water of quarter hours cost."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from meterhouse_collector.money.decimals import add
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.settlement.dues import Bill, site_bill
from meterhouse_collector.settlement.inputs import billed_meters, site_quarters
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.settlement.supplies import SiteQuarter
from meterhouse_collector.site.load import SiteModelError
from tests.collector.bills import starts
from tests.collector.settled import site

DAY = starts("2026-10-05", "2026-10-06")
HEAD = 'name = "site"\ncurrency = "EUR"\ntime_zone = "Europe/Berlin"\n'
KWH = 3_600_000.0
METERS = "".join(
    f'[[meter]]\nname = "{name}"\nrole = "{role}"\n'
    for name, role in (
        ("utility", "boundary"),
        ("roof", "generator"),
        ("ppa", "other"),
        ("out", "boundary"),
        ("city", "water"),
    )
).replace('role = "other"', 'role = "ups_in"')
TARIFF = """
[[tariff]]
name = "grid"
valid_from = 2026-01-01
[[tariff.component]]
kind = "energy"
name = "usage"
per_kwh = 0.20
[[tariff.component]]
kind = "export"
name = "feed-in"
per_kwh = 0.05
"""
SOURCES = """
[[energy_source]]
name = "roof"
kind = "on_site"
meters = ["roof"]
[[energy_source]]
name = "wind"
kind = "ppa"
meters = ["ppa"]
[[energy_source]]
name = "feed"
kind = "export"
meters = ["out"]
[[supply]]
source = "roof"
kind = "on_site"
per_kwh = 0.03
valid_from = 2026-01-01
[[supply]]
source = "wind"
kind = "ppa"
per_kwh = 0.10
valid_from = 2026-01-01
"""


def quarter(start: int, billed: float | None = KWH * 10, **more: Any) -> SiteQuarter:  # noqa: ANN401 - any field of a quarter
    return SiteQuarter(start_seconds=start, billed_joules=billed, **more)


def bill(text: str, **more: Any) -> Bill:  # noqa: ANN401 - any field of a quarter
    """Return the bill of a day with the same in each of its 96 quarter hours."""
    return site_bill(site(HEAD + METERS + text).model, [quarter(start, **more) for start in DAY])


def totals(of: Bill) -> Mapping[str, Decimal]:
    return {line.name: add(a for a in line.amounts if a is not None) for line in of.lines}


def test_import_is_billed_by_the_tariff() -> None:
    found = bill(TARIFF)
    assert totals(found)["usage"] == 96 * 10 * Decimal("0.20")
    assert [due.energy for due in found.dues] == [Decimal(2)] * 96


def test_each_source_is_billed_at_its_price_and_the_grid_for_the_rest() -> None:
    joules = {"roof": 2 * KWH, "wind": 3 * KWH, "feed": KWH}
    found = bill(TARIFF + SOURCES, billed=8 * KWH, source_joules=joules)
    # 10 kWh are used, 2 of them from the roof, so 8 net came in: 3 by wind, and 1 left again.
    assert totals(found) == {
        "usage": 96 * 6 * Decimal("0.20"),
        "feed-in": -96 * 1 * Decimal("0.05"),
        "roof": 96 * 2 * Decimal("0.03"),
        "wind": 96 * 3 * Decimal("0.10"),
    }


def test_a_source_that_is_not_measured_leaves_no_total() -> None:
    joules = {"roof": None, "wind": 3 * KWH, "feed": 0.0}
    found = bill(TARIFF + SOURCES, source_joules=joules)
    assert {due.energy for due in found.dues} == {None}
    assert found.dues[0].reason is not None
    assert found.dues[0].total is None


def test_what_is_made_beyond_the_use_is_exported() -> None:
    found = bill(TARIFF + SOURCES, billed=-2 * KWH, source_joules={"roof": 3 * KWH})
    assert totals(found)["usage"] == 0
    assert totals(found)["feed-in"] == -96 * 2 * Decimal("0.05")


GENSET = """
[[generator]]
name = "genset"
rated_watts = 1000.0
fuel = "diesel"
kwh_per_litre = 9.9
valid_from = 2026-01-01
[[supply]]
source = "genset"
kind = "fuel"
per_litre = 1.40
valid_from = 2026-01-01
[[fuel_use]]
generator = "genset"
begins = 2026-10-05
ends = 2026-10-07
litres = 300
kg_per_litre = 2.68
source = "Tank gauge"
"""


def record(start: int) -> Record:
    return Record(start, KWH, KWH / 2, None, 0.0, 0.0, 0.0, 0, "")


def test_fuel_is_spread_evenly_over_its_days() -> None:
    index = site(HEAD + METERS + TARIFF + GENSET)
    found = site_quarters(index, DAY, {start: record(start) for start in DAY}, {})
    litres = [q.fuel_litres["genset"] for q in found]
    assert add(value for value in litres if value is not None) == pytest.approx(150)
    money = totals(site_bill(index.model, found))["genset"]
    assert money == pytest.approx(Decimal("1.40") * 150)


WATER = """
[[water]]
name = "city"
category = 1
meters = ["city"]
per_cubic_metre = 2.10
valid_from = 2026-10-05
valid_to = 2026-10-06
"""


def test_water_is_billed_by_the_cubic_metre_while_it_is_supplied() -> None:
    found = bill(TARIFF + WATER, water_litres={"city": 500.0})
    assert totals(found)["city"] == 96 * Decimal("1.05")
    assert found.dues[0].water == Decimal("1.05")
    assert found.dues[0].total == Decimal("3.05")
    later = [quarter(start, water_litres={}) for start in starts("2026-10-06", "2026-10-07")]
    after = site_bill(site(HEAD + METERS + TARIFF + WATER).model, later)
    assert totals(after)["city"] == 0
    assert after.dues[0].missing == ()


def test_water_that_nobody_invoices_is_no_cost() -> None:
    unpriced = WATER.replace("per_cubic_metre = 2.10\n", "")
    found = bill(TARIFF + unpriced, water_litres={"city": 500.0})
    assert {line.kind for line in found.lines} == {"energy"}
    assert found.dues[0].missing == ()


def test_what_power_costs_is_demand_and_the_rest_is_energy() -> None:
    components = (
        'kind = "demand"\nper_kw = 1',
        'kind = "contracted"\nper_kva = 1\nkva = 10',
        'kind = "coincident_peak"\nper_kw = 1\nhours = [2026-10-05T17:00:00Z]',
        'kind = "fixed"\nper_month = 1',
    )
    text = TARIFF + "".join(f"[[tariff.component]]\n{each}\n" for each in components)
    housed = """
[[colocation]]
name = "annex"
committed_kw = 10
per_kw = 1
per_kwh = 0.1
valid_from = 2026-01-01
"""
    kinds = {line.component: line.kind for line in bill(text + housed).lines}
    assert kinds == {
        "energy": "energy",
        "export": "energy",
        "demand": "demand",
        "contracted": "demand",
        "coincident_peak": "demand",
        "fixed": "energy",
        "committed": "demand",
        "passed_through": "energy",
    }


def test_water_that_is_not_measured_is_missing_and_energy_is_not() -> None:
    found = bill(TARIFF + WATER, water_litres={"city": None})
    assert found.dues[0].energy == 2
    assert found.dues[0].missing == ("city: not measured",)


def test_a_site_without_a_price_of_energy_says_so() -> None:
    (due, *_) = bill("").dues
    assert due.reason == "no tariff, supply or colocation gives a price of energy"


def test_quarters_read_their_meters_and_what_is_not_there_is_not_known() -> None:
    index = site(HEAD + METERS + TARIFF + SOURCES + WATER)
    assert billed_meters(index) == {"roof", "ppa", "out", "city"}
    whole = 900_000
    meters = {
        DAY[0]: {
            "roof": MeterRow(whole, whole, 5.0),
            "city": MeterRow(whole, whole, volume_litres=7.0),
        }
    }
    first, second = site_quarters(index, DAY[:2], {DAY[0]: record(DAY[0])}, meters)
    assert (first.billed_joules, first.it_joules) == (KWH, KWH / 2)
    assert first.source_joules == {"roof": 5.0, "wind": None, "feed": None}
    assert first.water_litres == {"city": 7.0}
    assert (second.billed_joules, second.water_litres) == (None, {"city": None})


def test_each_connection_is_billed_by_its_own_tariff_for_its_own_import() -> None:
    two = """
[[energy_source]]
name = "north"
kind = "grid"
meters = ["utility"]
tariffs = ["north"]
[[energy_source]]
name = "south"
kind = "grid"
meters = ["out"]
tariffs = ["south"]
[[tariff]]
name = "north"
per_kwh = 0.10
valid_from = 2026-01-01
[[tariff]]
name = "south"
per_kwh = 0.30
valid_from = 2026-01-01
[[tariff]]
name = "network"
valid_from = 2026-01-01
[[tariff.component]]
kind = "energy"
name = "fee"
per_kwh = 0.01
"""
    found = bill(two, source_joules={"north": 4 * KWH, "south": 6 * KWH})
    amounts = [add(a for a in line.amounts if a is not None) / 96 for line in found.lines]
    assert amounts == [Decimal("0.4"), Decimal("1.8"), Decimal("0.1")]


FACTOR = """
[[energy_source]]
name = "north"
kind = "grid"
valid_from = 2026-01-01
[[emission_factor]]
energy_source = "north"
method = "market"
kg_per_kwh = 0.1
source = "ours"
valid_from = 2026-01-01
"""
CARBON = """
[[carbon_price]]
kind = "invoiced"
scope = 1
per_tonne = 50
valid_from = 2026-01-01
[[carbon_price]]
kind = "invoiced"
scope = 2
per_tonne = 20
valid_from = 2026-01-01
[[carbon_price]]
kind = "shadow"
scope = 2
per_tonne = 1000
valid_from = 2020-01-01
"""


def test_emissions_cost_what_is_invoiced_and_never_a_shadow_price() -> None:
    found = bill(TARIFF + FACTOR + CARBON, carbon_kg={1: 10.0, 2: 100.0})
    assert [due.carbon for due in found.dues] == [Decimal("0.5") + 2] * 96


def test_a_price_of_emissions_without_a_factor_is_a_fault_and_no_bill_of_zero() -> None:
    fault = (
        "carbon_price.1.scope: found 2, allowed: 1, or 2 with an [[emission_factor]] of the method"
        ' "market"'
    )
    with pytest.raises(SiteModelError, match=re.escape(fault)):
        site(HEAD + METERS + TARIFF + CARBON)


def test_emissions_that_are_not_known_are_missing_and_energy_is_not() -> None:
    found = bill(TARIFF + FACTOR + CARBON, carbon_kg={1: 10.0, 2: None})
    assert {due.energy for due in found.dues} == {Decimal(2)}
    assert {due.missing for due in found.dues} == {("scope 2 emissions: not known",)}


def test_what_another_of_its_name_follows_is_billed_no_more() -> None:
    """A price that rose is not billed beside the one it follows."""
    water = WATER.replace("valid_to = 2026-10-06\n", "")
    dearer = water.replace("2.10", "4.20").replace("2026-10-05", "2026-10-06")
    emissions = CARBON.partition('[[carbon_price]]\nkind = "invoiced"\nscope = 2')[0]
    later = emissions.replace("50", "80").replace("2026-01-01", "2026-10-06")
    model = site(HEAD + METERS + TARIFF + water + dearer + emissions + later).model
    days = [
        quarter(start, water_litres={"city": 500.0}, carbon_kg={1: 10.0, 2: 0.0})
        for start in starts("2026-10-05", "2026-10-07")
    ]
    dues = site_bill(model, days).dues
    assert {(due.water, due.carbon) for due in dues[:96]} == {(Decimal("1.05"), Decimal("0.5"))}
    assert {(due.water, due.carbon) for due in dues[96:]} == {(Decimal("2.1"), Decimal("0.8"))}


def test_colocation_that_another_follows_ends_there() -> None:
    housed = (
        '[[colocation]]\nname = "hall"\ncommitted_kw = 100\nper_kw = 31\nper_kwh = 0\n'
        "valid_from = 2026-01-01\n"
    )
    dearer = housed.replace("31", "62").replace("2026-01-01", "2026-10-16")
    model = site(HEAD + METERS + housed + dearer).model
    month = [quarter(start) for start in starts("2026-10-01", "2026-11-01")]
    demand = [due.demand for due in site_bill(model, month).dues]
    assert demand[-1] == pytest.approx(2 * demand[0])


RATES = "".join(
    '[[exchange_rate]]\nfrom_currency = "USD"\nto_currency = "EUR"\nsource = "made up"\n'
    f"rate = {rate}\nvalid_from = {day}\n"
    for rate, day in (("0.5", "2026-01-01"), ("0.9", "2026-10-06"))
)


def test_a_bill_in_another_currency_is_converted_at_the_rate_of_each_day() -> None:
    dollars = TARIFF.replace("2026-01-01\n", '2026-01-01\ncurrency = "USD"\n')
    model = site(HEAD + METERS + dollars + RATES).model
    days = [quarter(start) for start in starts("2026-10-05", "2026-10-07")]
    usage = site_bill(model, days).lines[0]
    assert usage.amounts == (Decimal("1.00"),) * 96 + (Decimal("1.80"),) * 96
    assert (usage.currency, set(usage.originals)) == ("USD", {Decimal("2.00")})
    # Of a day without a rate nothing is known but the original.
    later = tuple(rate for rate in model.exchange_rate if rate.rate == Decimal("0.9"))
    found = site_bill(model.model_copy(update={"exchange_rate": later}), days)
    assert found.lines[0].amounts == (None,) * 96 + (Decimal("1.80"),) * 96
    assert found.dues[0].energy is None
    assert found.dues[0].reason == "usage: no exchange rate from USD to EUR on 2026-10-05"


def test_an_open_month_is_billed_by_the_highest_of_drawn_ratchet_and_forecast() -> None:
    peak = """
[[tariff]]
name = "network"
valid_from = 2026-01-01
[[tariff.component]]
kind = "demand"
name = "peak"
per_kw = 15
ratchet_ratio = 0.8
ratchet_months = 11
billed_peak = [{ month = 2026-08-01, kw = KW }]
forecast_peak = [{ month = 2026-10-01, kw = 44 }, { month = 2026-11-01, kw = 900 }]
"""
    begins = "2026-10-01"

    def billed(prior_kw: int, kwh: int, until: str) -> tuple[str, bool]:
        days = [quarter(start, KWH * kwh) for start in starts(begins, until)]
        text = HEAD + METERS + TARIFF + peak.replace("KW", str(prior_kw))
        (line,) = [each for each in site_bill(site(text).model, days).lines if each.name == "peak"]
        return line.notes[0].partition("billed ")[2], line.provisional

    # 10 kWh in a quarter hour are 40 kW.
    assert billed(0, 10, "2026-10-02") == ("44 kW (forecast)", True)
    assert billed(50, 12, "2026-10-02") == ("48 kW (so far)", True)
    assert billed(500, 12, "2026-10-02") == ("400 kW (ratchet)", True)
    # A month that is over is billed by what was.
    assert billed(0, 10, "2026-11-01") == ("40 kW (so far)", False)
    assert billed(500, 10, "2026-11-01") == ("400 kW (ratchet)", False)
