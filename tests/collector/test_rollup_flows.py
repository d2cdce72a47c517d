"""Water, heat, sources and carbon in the rollup: each with what it is divided by, or not at all."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_collector.kpi.catalogue import FLOW_FIELDS
from meterhouse_collector.kpi.compute import Window, kpi
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.quarter_meter import MeterQuarter
from meterhouse_collector.rollup.roll_up import NOTHING_EXPECTED, add_sums, roll_up
from meterhouse_collector.rollup.site_energy import Expected
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.settlement.records import record_of
from meterhouse_collector.site.index import GroupKey, SiteIndex
from tests.collector.rollups import (
    BY_HAND,
    ENERGY_METERS,
    EXPORT,
    FACTORS,
    FLOWS,
    KWH,
    LENGTH,
    PDU,
    START,
    UTILITY,
    index,
    interval,
    meter,
    water,
)

WATER = '[[meter]]\nname = "water"\nrole = "water"\n'
GRID = '[[energy_source]]\nname = "grid"\nkind = "grid"\n'
FACTOR = FACTORS.partition("[[emission_factor]]")[2].partition("[[emission_factor]]")[0]
LOCATION = "[[emission_factor]]" + FACTOR
SITE = GroupKey("site")
SUPPLY = (
    '[[water]]\nname = "supply-{0}"\ncategory = {0}\nmeters = ["water"]\nvalid_from = 2026-01-01\n'
)


def site(
    known: SiteIndex,
    rows: Mapping[str, MeterRow] | None = None,
    expected: Expected = NOTHING_EXPECTED,
    **meters: MeterRow,
) -> Sums:
    named = {**(rows or {}), **{name.replace("_", "-"): row for name, row in meters.items()}}
    return roll_up(interval({}, named), known, expected)[SITE]


def value(name: str, sums: Sums, known: SiteIndex) -> KpiValue:
    return kpi(
        name, sums, window=Window(LENGTH, energy_basis(known, (START, START + LENGTH)), "EUR")
    )


def test_water_counts_with_the_it_energy_of_the_same_intervals() -> None:
    known = index(UTILITY, PDU, WATER)
    whole = site(known, utility=meter(2 * KWH), pdu=meter(KWH), water=water(1.8))
    assert (whole["water_litres"], whole["water_joint_litres"]) == (1.8, 1.8)
    assert value("wue", whole, known).value == pytest.approx(1.8)
    blind = site(known, utility=meter(2 * KWH), water=water(5.0))
    dry = site(known, utility=meter(2 * KWH), pdu=meter(KWH))
    both = add_sums([whole, blind, dry])
    assert both["water_litres"] == 6.8
    assert both["water_joint_litres"] / both["water_it_joint_joules"] == 1.8 / KWH
    found = value("wue", both, known)
    assert found.value is None
    assert found.reason is not None
    assert found.reason.startswith("coverage")


def test_wue_states_the_category_of_its_water() -> None:
    rows = {"utility": meter(2 * KWH), "pdu": meter(KWH), "water": water(1.8)}
    label = "water of the site per IT energy"
    for supplies, said in (
        ((), label),
        ((2,), f"{label}, category 2"),
        ((3, 1), f"{label}, category 1"),
    ):
        known = index(UTILITY, PDU, WATER, *(SUPPLY.format(each) for each in supplies))
        assert value("wue", site(known, rows), known).label == said


def test_part_of_a_percent_of_a_water_meter_is_filled_and_more_does_not_count() -> None:
    known = index(PDU, WATER)
    nearly = site(known, pdu=meter(KWH), water=water(1.0, covered=4975))
    assert nearly["water_joint_litres"] == pytest.approx(1 / 0.995)
    half = site(known, pdu=meter(KWH), water=water(1.0, covered=2500))
    assert (half["water_litres"], half["water_joint_litres"]) == (1.0, 0.0)


def test_site_without_such_meters_has_no_such_figure() -> None:
    known = index(UTILITY, PDU)
    sums = site(known, utility=meter(2 * KWH), pdu=meter(KWH))
    for name, lacking in (("wue", "water meter"), ("erf", "heat reuse meter"), ("ref", "source")):
        found = value(name, sums, known)
        assert found.value is None
        assert lacking in (found.reason or "")
    # What nobody names came from the grid.
    assert sums["grid_joint_joules"] == sums["sources_joint_joules"] == 2 * KWH


def test_sources_add_up_to_the_facility_energy() -> None:
    known = index(UTILITY, EXPORT, PDU, FLOWS)
    joules = {name: (number + 2) * KWH for number, name in enumerate(reversed(ENERGY_METERS))}
    sums = site(known, {name: meter(amount) for name, amount in joules.items()})
    assert sums["on_site_joint_joules"] == joules["solar"]
    assert sums["fuel_joint_joules"] == joules["gas"]
    assert sums["storage_joint_joules"] == joules["battery"]
    assert sums["ppa_joint_joules"] == joules["feed"]
    assert sums["export_joint_joules"] == joules["export"]
    assert sums["purchased_cooling_joint_joules"] == joules["chilled"] / 4
    # Neither source names the utility's meter, so the grid has all of it.
    assert sums["grid_joint_joules"] == pytest.approx(joules["utility"])
    parts = ("grid", "ppa", "on_site", "fuel", "purchased_cooling", "storage")
    given = sum(sums[f"{part}_joint_joules"] for part in parts) - sums["export_joint_joules"]
    assert given == pytest.approx(sums["facility_joules"])
    renewable = joules["utility"] / 2 + joules["feed"] + joules["solar"]
    assert sums["renewable_joint_joules"] == pytest.approx(renewable)


def test_source_without_its_meter_leaves_no_source_known() -> None:
    known = index(UTILITY, FLOWS)
    rows = {name: meter(KWH) for name in ENERGY_METERS if name not in ("export", "pdu", "solar")}
    silent = site(known, rows)
    assert silent["sources_joint_seconds"] == silent["grid_joint_joules"] == 0
    filled = site(known, rows, Expected({"solar": 1.0}, {}))
    assert filled["sources_joint_seconds"] == LENGTH
    assert filled["on_site_joint_joules"] == LENGTH


def test_renewable_factor_is_provisional_until_certificates_are_retired() -> None:
    source = GRID + "renewable_ratio = 0.5\n"
    proof = (
        '[[certificate]]\nname = "go"\nenergy_source = "grid"\nkind = "ppa"\nmwh = 9.0\n'
        "begins = 2026-01-01\nends = 2027-01-01\n"
    )
    for parts, reason in (
        ((source,), "provisional: certificates are not retired yet"),
        ((source, proof + "retired = 2027-02-01\n"), None),
    ):
        known = index(UTILITY, *parts)
        found = value("ref", site(known, utility=meter(KWH)), known)
        assert (found.value, found.reason) == (0.5, reason)


PPA_PROOF = (
    '[[certificate]]\nname = "{0}"\nenergy_source = "grid"\nkind = "{1}"\nmwh = 9.0\n'
    "begins = {2}\nends = {3}\nretired = 2027-02-01\n"
)
MAY = (datetime(2026, 5, 1, tzinfo=UTC).timestamp(), datetime(2026, 6, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("proofs", "provisional"),
    [
        ([("a", "ppa", "2025-01-01", "2026-01-01")], True),
        ([("a", "ppa", "2026-05-01", "2026-06-01")], False),
        ([("a", "ppa", "2026-05-01", "2026-05-31")], True),
        (
            [("a", "ppa", "2026-05-10", "2026-06-01"), ("b", "ppa", "2026-01-01", "2026-05-10")],
            False,
        ),
        (
            [("a", "ppa", "2026-05-11", "2026-06-01"), ("b", "ppa", "2026-01-01", "2026-05-10")],
            True,
        ),
        ([("a", "guarantee_of_origin", "2026-05-01", "2026-06-01")], True),
    ],
)
def test_certificates_are_proof_of_their_own_days(
    proofs: list[tuple[str, str, str, str]], *, provisional: bool
) -> None:
    source = GRID + "renewable_ratio = 0.5\n"
    known = index(UTILITY, source, *(PPA_PROOF.format(*each) for each in proofs))
    assert energy_basis(known, MAY).provisional == provisional


def test_retired_guarantees_of_origin_count_evenly_over_their_days() -> None:
    proof = (
        '[[certificate]]\nname = "go"\nenergy_source = "grid"\nmwh = 8.64\n'
        "begins = 2026-05-28\nends = 2026-05-29\n"
    )
    retired = index(UTILITY, GRID, proof + "retired = 2027-02-01\n")
    sums = site(retired, utility=meter(KWH))
    assert sums["renewable_joint_joules"] == pytest.approx(8640 * KWH / 86_400 * LENGTH)
    promised = site(index(UTILITY, GRID, proof), utility=meter(KWH))
    assert promised["renewable_joint_joules"] == 0


def test_heat_and_ups_count_where_both_sides_are_known() -> None:
    known = index(UTILITY, FLOWS)
    joules = {**dict.fromkeys(ENERGY_METERS, KWH), "heat": KWH / 2, "ups-out": 0.95 * KWH}
    sums = site(known, {name: meter(amount) for name, amount in joules.items()})
    assert sums["reused_heat_joules"] == sums["reused_heat_joint_joules"] == KWH / 2
    facility = sums["facility_joules"]
    assert value("erf", sums, known).value == pytest.approx(KWH / 2 / facility)
    assert value("ups_efficiency", sums, known).value == pytest.approx(0.95)
    half = site(known, ups_in=meter(KWH))
    assert half["ups_in_joint_joules"] == half["ups_joint_seconds"] == 0
    assert value("ups_efficiency", half, known).value is None


def test_carbon_is_bought_energy_times_its_dated_factor() -> None:
    known = index(UTILITY, PDU, GRID, LOCATION)
    sums = site(known, utility=meter(2 * KWH), pdu=meter(KWH))
    assert sums["location_carbon_kg"] == pytest.approx(0.8)
    assert value("cue", sums, known).value == pytest.approx(0.8)
    assert (sums["market_carbon_kg"], sums["market_unfactored_seconds"]) == (0.0, LENGTH)


def test_missing_factor_is_no_carbon_of_zero() -> None:
    late = index(UTILITY, PDU, GRID, LOCATION.replace("2026-01-01", "2027-01-01"))
    sums = site(late, utility=meter(2 * KWH), pdu=meter(KWH))
    assert sums["location_unfactored_seconds"] == LENGTH
    found = value("cue", sums, late)
    assert (found.value, found.reason) == (None, "5 seconds have no emission factor")


def test_emissions_of_a_quarter_are_not_known_while_a_source_is_not() -> None:
    known = index(
        UTILITY, PDU, GRID, FACTORS.partition('energy_source = "wind"')[0].rpartition("[[")[0]
    )
    told = site(known, utility=meter(2 * KWH), pdu=meter(KWH))
    assert record_of(START, told, 0, "").scope_2_kg == pytest.approx(0.8)
    silent = site(known, pdu=meter(KWH))
    assert silent["market_carbon_kg"] == 0
    assert record_of(START, silent, 0, "").scope_2_kg is None
    unfactored = index(UTILITY, PDU, GRID, LOCATION)
    late = site(unfactored, utility=meter(2 * KWH), pdu=meter(KWH))
    assert record_of(START, late, 0, "").scope_2_kg is None


def test_scope_1_comes_by_hand_over_its_days_and_fuel_counts_for_cue() -> None:
    known = index(UTILITY, PDU, GRID, LOCATION, BY_HAND)
    sums = site(known, utility=meter(2 * KWH), pdu=meter(KWH))
    fuel = 6000 * 2.5 / (60 * 86_400) * LENGTH
    assert sums["fuel_carbon_kg"] == pytest.approx(fuel)
    assert sums["refrigerant_carbon_kg"] == pytest.approx(8640 / 86_400 * LENGTH)
    assert sums["energy_carbon_joint_kg"] == pytest.approx(0.8 + fuel)
    silent = site(known)
    assert silent["fuel_carbon_kg"] == pytest.approx(fuel)
    assert silent["energy_carbon_joint_kg"] == 0


def test_water_of_the_source_adds_that_of_making_the_energy() -> None:
    known = index(UTILITY, PDU, GRID, LOCATION, WATER)
    sums = site(known, utility=meter(1.5 * KWH), pdu=meter(KWH), water=water(1.8))
    # WUE + litres per kWh * PUE.
    assert value("wue_source", sums, known).value == pytest.approx(1.8 + 2.0 * 1.5)


AMOUNT = st.floats(1.0, 1e7)


@st.composite
def covered_intervals(draw: st.DrawFn) -> list[dict[str, MeterRow]]:
    """Draw the rows of all meters for some intervals, wholly covered."""
    count = draw(st.integers(1, 5))
    return [
        {**{name: meter(draw(AMOUNT)) for name in ENERGY_METERS}, "water": water(draw(AMOUNT))}
        for _ in range(count)
    ]


@settings(max_examples=40, deadline=None)
@given(covered_intervals())
def test_quarter_has_the_flows_of_its_intervals(intervals: list[dict[str, MeterRow]]) -> None:
    known = index(UTILITY, EXPORT, PDU, FLOWS, FACTORS, BY_HAND)
    live = add_sums([site(known, rows) for rows in intervals])
    length = LENGTH * len(intervals)
    summed = {}
    for name in (*ENERGY_METERS, "water"):
        quarter = MeterQuarter(START, length)
        for number, rows in enumerate(intervals):
            quarter.add(START + number * LENGTH, {"reader": rows[name]})
        row = quarter.row([])
        assert row is not None
        summed[name] = row
    kept = roll_up(interval({}, summed)._replace(length_seconds=length), known)[SITE]
    for field in FLOW_FIELDS:
        assert kept[field.name] == pytest.approx(live[field.name], rel=1e-9, abs=1e-3), field.name


GENSET = (
    '[[meter]]\nname = "genset-out"\nrole = "generator"\n'
    '[[generator]]\nname = "genset"\nrated_watts = 1e6\nmeters = ["genset-out"]\n'
    "kwh_per_litre = 10.0\n"
    '[[energy_source]]\nname = "oil"\nkind = "fuel"\nmeters = ["genset-out"]\n'
    "renewable_ratio = 0.5\n"
    '[[fuel_use]]\ngenerator = "genset"\nbegins = 2026-05-28\nends = 2026-05-29\n'
    'litres = 17280.0\nkg_per_litre = 2.5\nsource = "tank"\n'
)


def test_of_a_generator_its_output_counts_or_its_fuel_and_never_both() -> None:
    parts = (UTILITY, PDU, GRID)
    by_output = index(*parts, GENSET)
    by_fuel = index(*parts, GENSET.replace("kwh_per", 'counted = "fuel"\nkwh_per'))
    read = {"utility": meter(2 * KWH), "pdu": meter(KWH), "genset-out": meter(3 * KWH)}
    # 17,280 litres in a day are one in five seconds: 10 kWh.
    for known, joules in ((by_output, 3 * KWH), (by_fuel, 10 * KWH)):
        sums = site(known, read)
        assert sums["facility_joules"] == pytest.approx(2 * KWH + joules)
        assert sums["facility_joint_joules"] == pytest.approx(2 * KWH + joules)
        assert sums["fuel_joint_joules"] == pytest.approx(joules)
        assert sums["grid_joint_joules"] == pytest.approx(2 * KWH)
        assert sums["renewable_joint_joules"] == pytest.approx(joules / 2)
        assert sums["billed_joules"] == 2 * KWH
        assert value("pue", sums, known).numerator == pytest.approx(2 * KWH + joules)


def test_fuel_counts_on_its_days_and_with_meters_of_the_boundary_only() -> None:
    text = GENSET.replace("kwh_per", 'counted = "fuel"\nkwh_per')
    read = {"utility": meter(2 * KWH), "pdu": meter(KWH)}
    later = index(UTILITY, PDU, text.replace("2026-05-29", "2026-05-30").replace("05-28", "05-29"))
    assert site(later, read)["facility_joules"] == 2 * KWH
    unmetered = index(PDU, text)
    assert site(unmetered, pdu=meter(KWH))["facility_joules"] == 0.0


PLANT = """
[[meter]]
name = "plant"
role = "generator"
[[meter]]
name = "solar"
role = "generator"
parent = "plant"
[[energy_source]]
name = "roof"
kind = "on_site"
meters = ["solar"]
"""


def test_a_source_behind_a_meter_that_counts_is_no_second_energy() -> None:
    known = index(UTILITY, PDU, GRID, PLANT)
    read = {"utility": meter(2 * KWH), "pdu": meter(KWH), "plant": meter(5 * KWH)}
    sums = site(known, read | {"solar": meter(3 * KWH)})
    assert sums["facility_joules"] == 7 * KWH
    assert sums["on_site_joint_joules"] == 3 * KWH
    assert sums["fuel_joint_joules"] == 2 * KWH
    assert sums["grid_joint_joules"] == 2 * KWH


def test_fuel_of_one_of_two_generators_takes_the_place_of_its_output() -> None:
    behind = GENSET.replace("kwh_per", 'counted = "fuel"\nkwh_per').replace(
        'role = "generator"\n', 'role = "generator"\nparent = "plant"\n'
    )
    known = index(UTILITY, PDU, GRID, '[[meter]]\nname = "plant"\nrole = "generator"\n', behind)
    read = {"utility": meter(2 * KWH), "pdu": meter(KWH), "plant": meter(5 * KWH)}
    sums = site(known, read | {"genset-out": meter(3 * KWH)})
    # 5 kWh of both, less 3 of the one that burnt 10 kWh of fuel.
    assert sums["facility_joules"] == pytest.approx(14 * KWH)
    assert sums["fuel_joint_joules"] == pytest.approx(12 * KWH)
    assert sums["grid_joint_joules"] == pytest.approx(2 * KWH)
