"""The energy bill: local clocks, months, tiers, gaps, levies, and all sources of energy."""

from decimal import Decimal

import pytest

from meterhouse_collector.money.bill_lines import QuarterEnergy
from meterhouse_collector.money.energy_bill import bill, supply_lines
from meterhouse_collector.money.monthly_charges import Known
from meterhouse_collector.site.tariff import Supply, Tariff
from tests.collector.bills import BERLIN, KOLKATA, instant, lines, quarters, starts, tariff

FLAT = {"kind": "energy", "per_kwh": "0.25"}
FIXED = {"kind": "fixed", "per_month": "100"}
NIGHT = {"kind": "time_of_use", "per_kwh": "0.1", "from_time": "22:00", "to_time": "06:00"}
DAY = {"kind": "time_of_use", "per_kwh": "0.3", "from_time": "06:00", "to_time": "22:00"}
TIER = {
    "kind": "tier",
    "step": [
        {"up_to_kwh": 10, "per_kwh": "0.1"},
        {"up_to_kwh": 20, "per_kwh": "0.2"},
        {"per_kwh": 1},
    ],
}


def decimals(*amounts: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if amount is None else Decimal(amount) for amount in amounts)


def test_flat_price_times_import() -> None:
    found = lines(quarters("2026-01-05", "2026-01-06", 2), tariff(FLAT))["energy"]
    assert found.amounts == (Decimal("0.50"),) * 96
    assert found.total == 48
    assert found.currency == "EUR"


def test_short_form_is_a_flat_price() -> None:
    short = Tariff.model_validate({"valid_from": "2020-01-01", "per_kwh": "0.25"})
    day = quarters("2026-01-05", "2026-01-06", 2)
    assert lines(day, short) == lines(day, tariff(FLAT))


@pytest.mark.parametrize(
    ("day", "following", "hours", "night_hours"),
    [
        ("2026-01-05", "2026-01-06", 24, 8),
        ("2026-03-29", "2026-03-30", 23, 7),
        ("2026-10-25", "2026-10-26", 25, 9),
    ],
)
def test_time_of_use_by_local_clock_when_it_is_changed(
    day: str, following: str, hours: int, night_hours: int
) -> None:
    found = lines(quarters(day, following), tariff(NIGHT, DAY))["time_of_use"]
    assert len(found.amounts) == hours * 4
    assert found.amounts.count(Decimal("0.1")) == night_hours * 4
    assert found.amounts.count(Decimal("0.3")) == 16 * 4


def test_time_of_use_where_no_window_fits_has_no_price() -> None:
    found = lines(quarters("2026-01-05", "2026-01-06"), tariff(DAY))["time_of_use"]
    assert found.total is None
    assert found.known == Decimal("0.3") * 64
    assert found.reasons[0] == "time_of_use: no price at Mon 2026-01-05 00:00 local time"
    assert found.amounts[0] is None
    assert len(found.reasons) == 32


def test_schedules_of_two_names_add_up_and_the_first_window_holds() -> None:
    weekend = {"kind": "time_of_use", "per_kwh": "0.05", "days": ["sat", "sun"]}
    grid = {"kind": "time_of_use", "per_kwh": 1, "name": "grid-fee"}
    found = lines(quarters("2026-01-03", "2026-01-04"), tariff(weekend, NIGHT, DAY, grid))
    assert found["time_of_use"].total == Decimal("0.05") * 96
    assert found["grid-fee"].total == 96


def test_tier_crossed_inside_a_quarter_hour() -> None:
    found = lines(quarters("2026-01-01", "2026-01-01T01:00", 8), tariff(TIER))["tier"]
    assert found.amounts == decimals("0.8", "1.4", "4.8", "8")


def test_one_quarter_hour_may_cross_several_tiers() -> None:
    found = lines(quarters("2026-01-01", "2026-01-01T00:15", 25), tariff(TIER))["tier"]
    assert found.amounts == decimals("8")


def test_tiers_begin_again_with_the_local_month() -> None:
    # In Berlin February begins at 23:00 UTC.
    known = Known(month_import_kwh=Decimal(50))
    found = lines(quarters("2026-01-31T23:45", "2026-02-01T00:15", 4), tariff(TIER), known=known)[
        "tier"
    ]
    assert instant("2026-02-01") == instant("2026-01-31T23:00+00:00")
    assert found.amounts == decimals("4", "0.4")


def test_tier_has_no_price_until_the_import_of_the_month_is_known() -> None:
    def kwh(start: int) -> Decimal | None:
        return None if start == instant("2026-01-01T00:15") else Decimal(8)

    whole = lines(quarters("2026-01-01", "2026-01-01T01:30", kwh), tariff(TIER))["tier"]
    # The last has 24 kWh measured before it, so it is in the last step whatever was missed.
    assert whole.amounts == decimals("0.8", None, None, None, "8", "8")
    assert whole.reasons[1] == "not measured"
    assert whole.reasons[2] == "tier: the month's import so far is not known"
    later = lines(quarters("2026-01-02", "2026-01-02T00:15"), tariff(TIER))["tier"]
    assert later.amounts == (None,)


def test_series_with_negative_prices_and_a_gap() -> None:
    points = [
        {"begins": "2026-01-05T00:00+01:00", "per_kwh": "-0.04"},
        {"begins": "2026-01-05T02:00+01:00", "per_kwh": "0.08"},
    ]
    series = {"kind": "series", "point": points}
    found = lines(quarters("2026-01-05", "2026-01-05T03:00", 10), tariff(series))["series"]
    assert found.amounts == (Decimal("-0.4"),) * 4 + (None,) * 4 + (Decimal("0.8"),) * 4
    assert found.reasons.keys() == {4, 5, 6, 7}
    assert found.total is None
    assert found.known == Decimal("1.6")


def test_levy_on_a_levy_and_not_on_what_it_does_not_name() -> None:
    tax = {"kind": "levy", "name": "tax", "per_cent": 5, "of": ["energy"]}
    vat = {"kind": "levy", "name": "vat", "per_cent": 20, "of": ["energy", "tax"]}
    every = {"kind": "levy", "name": "every", "per_cent": 10, "of": ["levy"]}
    found = lines(quarters("2026-01-01", "2026-02-01", 4), tariff(FLAT, FIXED, tax, vat, every))
    assert found["energy"].total == 2976
    assert found["tax"].total == Decimal("148.80")
    assert found["vat"].total == Decimal("624.96")
    assert found["every"].total == Decimal("77.376")


def test_levy_has_no_amount_where_its_base_has_none() -> None:
    levy = {"kind": "levy", "per_cent": 5, "of": ["time_of_use"]}
    found = lines(quarters("2026-01-05", "2026-01-06"), tariff(DAY, levy))
    assert found["levy"].reasons == found["time_of_use"].reasons


@pytest.mark.parametrize(
    ("month", "following", "count"),
    [
        ("2026-01-01", "2026-02-01", 2976),
        ("2026-02-01", "2026-03-01", 2688),
        ("2026-03-01", "2026-04-01", 2972),
        ("2026-10-01", "2026-11-01", 2980),
    ],
)
def test_fixed_price_is_spread_over_the_quarter_hours_of_its_local_month(
    month: str, following: str, count: int
) -> None:
    found = lines(quarters(month, following), tariff(FIXED))["fixed"]
    assert len(found.amounts) == count
    assert found.total == 100
    known = [amount for amount in found.amounts if amount is not None]
    assert max(known) - min(known) <= Decimal("1e-29")


def test_month_is_neither_720_nor_730_hours() -> None:
    found = lines(quarters("2026-01-05", "2026-01-06"), tariff(FIXED))["fixed"]
    day = Decimal(100) / 31
    assert found.known == pytest.approx(day, rel=Decimal("1e-20"))


def test_months_begin_at_local_midnight_in_a_half_hour_zone() -> None:
    fixed = lines(quarters("2026-01-01", "2026-03-01", zone=KOLKATA), tariff(FIXED), zone=KOLKATA)[
        "fixed"
    ]
    assert fixed.total == 200


def test_change_of_tariff_within_a_month_shares_its_charges() -> None:
    first = tariff({"kind": "fixed", "per_month": 310}, FLAT)
    second = tariff({"kind": "fixed", "per_month": 620}, valid_from="2026-01-11")
    found = lines(quarters("2026-01-01", "2026-02-01"), first, second)
    assert found["fixed"].total is not None
    assert found["fixed"].total.quantize(Decimal("1e-20")) == 100 + 420
    assert found["energy"].total == Decimal("0.25") * 960


def test_no_tariff_in_force_is_no_price() -> None:
    ended = tariff(FLAT, valid_to="2026-01-06")
    found = lines(quarters("2026-01-05", "2026-01-07"), ended)
    assert found["energy"].total == 24
    assert found["tariff"].total is None
    assert set(found["tariff"].reasons) == set(range(96, 192))
    assert found["tariff"].reasons[96] == "no tariff is in force"


def test_import_that_was_not_measured_has_no_amount() -> None:
    found = lines(quarters("2026-01-05", "2026-01-05T00:15", lambda _: None), tariff(FLAT))
    assert found["energy"].amounts == (None,)
    assert found["energy"].reasons == {0: "not measured"}


def supplied(**amounts: str | None) -> QuarterEnergy:
    return QuarterEnergy(
        start_seconds=instant("2026-01-05"),
        import_kwh=Decimal(100),
        export_kwh=Decimal(10),
        supplied={name: None if a is None else Decimal(a) for name, a in amounts.items()},
    )


SUPPLIES = [
    Supply.model_validate({"valid_from": "2026-01-01", **each})
    for each in (
        {"source": "wind", "kind": "ppa", "per_kwh": "0.06"},
        {"source": "roof", "kind": "on_site", "per_kwh": "0.01"},
        {"source": "genset", "kind": "fuel", "per_litre": "1.5", "currency": "USD"},
    )
]


def test_bill_is_the_sum_over_sources_less_export() -> None:
    export = {"kind": "export", "per_kwh": "0.07"}
    found = lines(
        [supplied(wind="50", roof="20", genset="4")], tariff(FLAT, export), supplies=SUPPLIES
    )
    assert {name: line.total for name, line in found.items()} == {
        "energy": 25,
        "export": Decimal("-0.7"),
        "wind": 3,
        "roof": Decimal("0.2"),
        "genset": 6,
    }
    assert found["genset"].currency == "USD"


def test_supply_without_reading_or_price_has_no_amount() -> None:
    found = lines([supplied(wind=None, river="3")], supplies=SUPPLIES[:2])
    assert found["wind"].reasons == {0: "not measured"}
    assert found["roof"].reasons == {0: "not measured"}
    assert found["river"].reasons == {0: "river: no price is in force"}


def test_supply_before_its_contract_costs_nothing() -> None:
    early = QuarterEnergy(start_seconds=instant("2025-01-05"), import_kwh=Decimal(1))
    (found,) = supply_lines([early], SUPPLIES[:1], BERLIN, currency="EUR")
    assert found.amounts == decimals("0")


def test_supply_that_changes_currency_has_a_line_in_each() -> None:
    later = Supply(
        source="wind",
        kind="ppa",
        per_kwh=Decimal(1),
        currency="USD",
        valid_from="2026-02-01",  # type: ignore[arg-type]
    )
    days = [
        QuarterEnergy(start_seconds=start, import_kwh=None, supplied={"wind": Decimal(1)})
        for start in starts("2026-01-31T23:30", "2026-02-01T00:15")
    ]
    found = supply_lines(days, [SUPPLIES[0], later], BERLIN, currency="EUR")
    assert [(line.currency, line.amounts) for line in found] == [
        ("EUR", decimals("0.06", "0.06", "0")),
        ("USD", decimals("0", "0", "1")),
    ]


@pytest.mark.parametrize("wrong", ["-1", "NaN", "Infinity"])
def test_energy_that_cannot_be_is_turned_down(wrong: str) -> None:
    with pytest.raises(ValueError, match="allowed: a finite amount from 0"):
        QuarterEnergy(start_seconds=0, import_kwh=Decimal(wrong))


def test_start_off_the_quarter_hour_is_turned_down() -> None:
    with pytest.raises(ValueError, match="allowed: a UTC quarter hour"):
        QuarterEnergy(start_seconds=60, import_kwh=None)


def test_quarter_hour_left_out_is_turned_down() -> None:
    day = quarters("2026-01-05", "2026-01-06")
    with pytest.raises(ValueError, match="allowed: "):
        bill([*day[:3], *day[4:]], [tariff(FLAT)], [], BERLIN, currency="EUR")


def test_tariffs_of_two_connections_are_two_bills() -> None:
    with pytest.raises(ValueError, match="several names"):
        lines(quarters("2026-01-05", "2026-01-06"), tariff(FLAT), tariff(FLAT, name="b"))
