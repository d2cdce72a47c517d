"""The tables of tariffs, supplies, colocation and rates: what they take and what they turn down."""

import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from meterhouse_collector.site.components import Component, LocalWindow, Series
from meterhouse_collector.site.price_series import read_points, with_prices
from meterhouse_collector.site.tariff import Colocation, ExchangeRate, Supply, Tariff
from tests.collector.bills import tariff

COMPONENT: TypeAdapter[Component] = TypeAdapter(Component)
POINT = {"begins": "2026-01-01T00:00Z", "per_kwh": "-0.01"}
SERIES = {"kind": "series", "point": [POINT]}
TOU = {"kind": "time_of_use", "per_kwh": 1}
DEMAND = {"kind": "demand", "per_kw": 15}
PEAK = {"kind": "coincident_peak", "per_kw": 1}
LEVY = {"kind": "levy", "per_cent": 5}
FLAT = {"kind": "energy", "per_kwh": 1}


def window(**more: object) -> LocalWindow:
    return LocalWindow.model_validate(more)


@pytest.mark.parametrize(
    ("of", "clock", "inside"),
    [
        (window(), "2026-01-05T00:00", True),
        (window(from_time="06:00", to_time="22:00"), "2026-01-05T06:00", True),
        (window(from_time="06:00", to_time="22:00"), "2026-01-05T22:00", False),
        (window(from_time="06:00", to_time="00:00"), "2026-01-05T23:45", True),
        (window(from_time="22:00", to_time="06:00"), "2026-01-05T21:45", False),
        (window(from_time="22:00", to_time="06:00"), "2026-01-05T22:00", True),
        (window(from_time="22:00", to_time="06:00"), "2026-01-05T05:45", True),
        (window(from_time="22:00", to_time="06:00"), "2026-01-05T06:00", False),
        (window(from_time="07:00", to_time="07:00"), "2026-01-05T03:00", True),
        (window(days=["sat", "sun"]), "2026-01-05T12:00", False),
        (window(days=["sat", "sun"]), "2026-01-04T12:00", True),
        (window(months=[1]), "2026-01-31T23:45", True),
        (window(months=[1]), "2026-02-01T00:00", False),
    ],
)
def test_window(of: LocalWindow, clock: str, inside: bool) -> None:  # noqa: FBT001 - a column of the table
    assert of.contains(datetime.fromisoformat(clock)) is inside


@pytest.mark.parametrize(
    ("component", "fault"),
    [
        ({"kind": "gas", "per_kwh": 1}, "gas"),
        ({"kind": "energy", "per_kwh": -1}, "greater than or equal to 0"),
        ({"kind": "energy", "per_kwh": "NaN"}, "finite"),
        ({**FLAT, "per_mwh": 1}, "per_mwh"),
        ({**TOU, "from_time": "06:10"}, "a local time on a quarter hour"),
        ({**TOU, "from_time": "06:00Z"}, "a local time on a quarter hour"),
        ({**TOU, "days": []}, "at least 1 item"),
        ({**TOU, "months": [13]}, "less than or equal to 12"),
        ({"kind": "tier", "step": []}, "at least 1 item"),
        ({"kind": "tier", "step": [{"up_to_kwh": 1, "per_kwh": 1}]}, "every step but the last"),
        ({"kind": "tier", "step": [{"per_kwh": 1}, {"per_kwh": 1}]}, "every step but the last"),
        (
            {
                "kind": "tier",
                "step": [{"up_to_kwh": k, "per_kwh": 1} for k in (2, 2)] + [{"per_kwh": 1}],
            },
            "up_to_kwh rises",
        ),
        ({"kind": "series"}, "either point or path"),
        ({**SERIES, "path": "a.csv"}, "either point or path"),
        ({"kind": "series", "point": [{**POINT, "begins": "2026-01-01T00:00"}]}, "timezone"),
        ({"kind": "series", "point": [{**POINT, "begins": "2026-01-01T00:05Z"}]}, "quarter hour"),
        (
            {"kind": "series", "point": [POINT, {**POINT, "begins": "2026-01-01T00:30Z"}]},
            "at least a step apart",
        ),
        ({**DEMAND, "interval": "10m"}, "15m"),
        ({**DEMAND, "ratchet_ratio": "0.8"}, "both ratchet_ratio and ratchet_months"),
        ({**DEMAND, "ratchet_ratio": 80, "ratchet_months": 11}, "less than or equal to 1"),
        ({**DEMAND, "ratchet_ratio": "0.8", "ratchet_months": 13}, "less than or equal to 12"),
        (
            {**DEMAND, "forecast_peak": [{"month": "2026-12-02", "kw": 1}]},
            "found month 2026-12-02, allowed: the first day of a month",
        ),
        ({**DEMAND, "billed_peak": [{"month": "2026-12-01", "kw": -1}]}, "equal to 0"),
        (
            {**DEMAND, "billed_peak": [{"month": "2026-12-01", "kw": kw} for kw in (1, 2)]},
            "one peak for each month",
        ),
        ({"kind": "contracted", "per_kva": 1, "kva": 0}, "greater than 0"),
        ({**PEAK, "hours": ["2026-01-01T00:10Z"]}, "hours that begin on a quarter hour"),
        ({**PEAK, "hours": ["2026-01-01T00:00Z"] * 2}, "each once"),
        ({**LEVY, "of": []}, "at least 1 item"),
    ],
)
def test_component_that_is_turned_down(component: Mapping[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        COMPONENT.validate_python(component)


@pytest.mark.parametrize(
    ("components", "fault"),
    [
        ((), "either per_kwh or component"),
        (({**LEVY, "of": ["energy"]}, FLAT), "before levy"),
        ((FLAT, {**LEVY, "of": ["levy"]}), "before levy"),
        ((FLAT, {**LEVY, "of": ["enrgy"]}), "before levy"),
        ((FLAT, FLAT), "energy is there twice"),
        ((TOU, {**FLAT, "name": "time_of_use"}), "time_of_use is there twice"),
    ],
)
def test_tariff_that_is_turned_down(
    components: tuple[Mapping[str, object], ...], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        tariff(*components)


def test_tariff_with_short_form_and_components_is_turned_down() -> None:
    with pytest.raises(ValidationError, match="either per_kwh or component"):
        tariff(FLAT, per_kwh=1)


def test_tariff_as_it_stands_in_a_site_file() -> None:
    text = """
        valid_from = 2026-01-01
        currency = "EUR"
        [[component]]
        kind = "time_of_use"
        per_kwh = 0.31
        days = ["mon", "tue", "wed", "thu", "fri"]
        from_time = 07:00:00
        to_time = "20:00"
        [[component]]
        kind = "time_of_use"
        per_kwh = 0.22
        [[component]]
        kind = "levy"
        per_cent = 2.05
        of = ["time_of_use"]
    """
    found = Tariff.model_validate(tomllib.loads(text, parse_float=Decimal))
    assert found.name == "grid"
    assert [c.kind for c in found.components] == ["time_of_use", "time_of_use", "levy"]
    assert found.components[2].model_dump()["per_cent"] == Decimal("2.05")


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "fuel", "per_kwh": 1},
        {"kind": "ppa", "per_litre": 1},
        {"kind": "on_site"},
        {"kind": "fuel", "per_litre": 1, "per_kwh": 1},
    ],
)
def test_supply_has_the_unit_of_its_kind(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match='per_litre with kind = "fuel"'):
        Supply.model_validate({"source": "a", "valid_from": "2026-01-01", **more})


@pytest.mark.parametrize("more", [{}, {"per_kwh": 1, "tariff": "grid"}])
def test_colocation_has_one_price_of_energy(more: dict[str, object]) -> None:
    base = {"name": "a", "committed_kw": 1, "per_kw": 1, "valid_from": "2026-01-01"}
    with pytest.raises(ValidationError, match="either per_kwh or tariff"):
        Colocation.model_validate(base | more)


def test_exchange_rate_is_between_two_currencies() -> None:
    same = {"from_currency": "EUR", "to_currency": "EUR", "rate": 1, "source": "x"}
    with pytest.raises(ValidationError, match="two different currencies"):
        ExchangeRate.model_validate({**same, "valid_from": "2026-01-01"})


def test_series_is_read_from_a_file_per_mwh(tmp_path: Path) -> None:
    text = "begins,per_mwh\n2026-01-01T00:00+01:00,180.5\n\n2026-01-01T01:00+01:00,-12\n"
    (tmp_path / "prices.csv").write_text(text, encoding="utf-8")
    found = with_prices(tariff({"kind": "series", "path": "prices.csv"}, FLAT), tmp_path)
    series = found.components[0]
    assert isinstance(series, Series)
    assert [point.per_kwh for point in series.point] == [Decimal("0.1805"), Decimal("-0.012")]
    assert series.point[0].begins.utcoffset() == timedelta(hours=1)
    assert series.path is None
    assert found.components[1] == tariff(FLAT).components[0]


def test_series_is_read_from_a_file_per_kwh(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("\ufeffbegins, per_kwh\n2026-01-01T00:00Z, 0.18\n", encoding="utf-8")
    (point,) = read_points(path)
    assert point.per_kwh == Decimal("0.18")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ":1: found \\[\\], allowed: begins,per_kwh or begins,per_mwh"),
        ("begins,price\n", ":1: found "),
        ("begins,per_kwh\n2026-01-01T00:00,1\n", ":2: found .*allowed: an instant with its offset"),
        ("begins,per_kwh\n2026-01-01T00:00Z,\n", ":2: found "),
        ("begins,per_kwh\n2026-01-01T00:00Z,NaN\n", ":2: found "),
        ("begins,per_kwh\n2026-01-01T00:00Z,1,2\n", ":2: found "),
        ("begins,per_kwh\n2026-01-01T00:00Z,1\nsoon,1\n", ":3: found "),
    ],
)
def test_price_file_that_is_turned_down(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        read_points(path)


def test_price_file_whose_points_overlap_is_turned_down(tmp_path: Path) -> None:
    text = "begins,per_kwh\n2026-01-01T00:00Z,1\n2026-01-01T00:15Z,1\n"
    (tmp_path / "prices.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"prices\.csv: allowed: points at least a step apart"):
        with_prices(tariff({"kind": "series", "path": "prices.csv"}), tmp_path)


def test_price_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prices\.csv: No such file"):
        read_points(tmp_path / "prices.csv")
