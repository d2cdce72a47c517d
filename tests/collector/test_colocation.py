"""Colocation: committed power over its month, energy passed through up to a PUE cap."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest

from meterhouse_collector.money.bill_lines import BillLine
from meterhouse_collector.money.colocation import HousedEnergy, colocation_lines
from meterhouse_collector.site.tariff import Colocation, Tariff
from tests.collector.bills import BERLIN, starts, tariff

CONTRACT = Colocation(
    name="hall-1",
    committed_kw=Decimal(1000),
    per_kw=Decimal(150),
    per_kwh=Decimal("0.1"),
    pue_cap=Decimal("1.4"),
    valid_from=date(2026, 1, 1),
)


def housed(
    begins: str, ends: str, facility: int | None = 15, it: int | None = 10
) -> list[HousedEnergy]:
    return [
        HousedEnergy(
            start_seconds=start,
            facility_kwh=None if facility is None else Decimal(facility),
            it_kwh=None if it is None else Decimal(it),
        )
        for start in starts(begins, ends)
    ]


def lines(
    quarters: Sequence[HousedEnergy], contract: Colocation = CONTRACT, *tariffs: Tariff
) -> tuple[BillLine, BillLine]:
    committed, energy = colocation_lines(quarters, contract, tariffs, BERLIN, currency="EUR")
    return committed, energy


def changed(**more: object) -> Colocation:
    return Colocation.model_validate(CONTRACT.model_dump() | more)


def test_committed_power_is_due_whatever_is_drawn() -> None:
    committed, _ = lines(housed("2026-03-01", "2026-04-01", 0, 0))
    assert committed.total == 150_000
    assert len(committed.amounts) == 2972
    committed, energy = lines(housed("2026-03-01", "2026-04-01", None, None))
    assert committed.total == 150_000
    assert energy.total is None


def test_energy_above_the_cap_is_not_passed_on() -> None:
    _, energy = lines(housed("2026-01-01", "2026-02-01"))
    assert energy.total is not None
    assert energy.total.quantize(Decimal("1e-20")) == 2976 * 14 * Decimal("0.1")
    _, below = lines(housed("2026-01-01", "2026-02-01", 13))
    assert below.total == 2976 * 13 * Decimal("0.1")


def test_metered_energy_without_a_cap_is_passed_on_as_it_is() -> None:
    _, energy = lines(housed("2026-01-01", "2026-02-01", 15, None), changed(pue_cap=None))
    assert energy.total == 2976 * 15 * Decimal("0.1")


def test_cap_holds_for_the_month_and_not_for_each_quarter_hour() -> None:
    night, day = (
        housed("2026-01-05", "2026-01-05T12:00", 18),
        housed("2026-01-05T12:00", "2026-01-06", 10),
    )
    _, energy = lines([*night, *day])
    assert energy.total == 48 * 28 * Decimal("0.1")


def test_cap_without_it_energy_is_no_value() -> None:
    _, energy = lines(housed("2026-01-05", "2026-01-06", 15, None))
    assert energy.total is None
    assert energy.reasons[0].startswith("the month's PUE is not known")


def test_energy_passes_through_at_the_tariff_with_its_levies() -> None:
    contract = changed(per_kwh=None, tariff="grid", pue_cap=None)
    grid = tariff(
        {"kind": "energy", "per_kwh": "0.2"}, {"kind": "levy", "per_cent": 10, "of": ["energy"]}
    )
    _, energy = lines(housed("2026-01-05", "2026-01-06"), contract, grid)
    assert energy.total == 96 * 15 * Decimal("0.22")


@pytest.mark.parametrize(
    "more", [{"name": "other"}, {"currency": "USD"}, {"valid_to": "2026-01-05"}]
)
def test_tariff_that_does_not_hold_is_no_price(more: dict[str, object]) -> None:
    contract = changed(per_kwh=None, tariff="grid", pue_cap=None)
    grid = tariff({"kind": "energy", "per_kwh": "0.2"}, **more)
    _, energy = lines(housed("2026-01-05", "2026-01-06"), contract, grid)
    assert energy.known == 0
    assert energy.reasons[95] == "grid: no tariff in this currency is in force"


def test_contract_costs_nothing_outside_its_dates() -> None:
    committed, energy = lines(
        housed("2026-01-01", "2026-02-01"), changed(valid_from="2026-01-11", valid_to="2026-01-21")
    )
    assert committed.total is not None
    assert committed.total.quantize(Decimal("1e-9")) == (Decimal(150_000) * 10 / 31).quantize(
        Decimal("1e-9")
    )
    assert energy.total is not None
    assert energy.total.quantize(Decimal("1e-9")) == 960 * 14 * Decimal("0.1")
