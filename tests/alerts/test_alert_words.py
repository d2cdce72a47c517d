"""The words of alerts: a summary has its figures, as people write them."""

import pytest

from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow, Unit
from meterhouse_collector.alerts.words import figure, placeholders, subject_of, summary


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.256, "ratio", "25.6%"),
        (0.9123, "number", "0.912"),
        (-450.0, "watts", "-450 W"),
        (12_345.0, "watts", "12.3 kW"),
        (1_250_000.0, "watts", "1.25 MW"),
        (90.4, "celsius", "90 °C"),
        (45.0, "seconds", "45 s"),
        (120.0, "seconds", "2 min"),
        (5400.0, "seconds", "1.5 h"),
        (172_800.0, "seconds", "2 d"),
        (12_345.678, "money", "12,345.68 EUR"),
        (1.5, "money per hour", "1.50 EUR"),
        (29.0, "days", "29 days"),
    ],
)
def test_a_figure_is_written_as_people_write_it(value: float, unit: Unit, written: str) -> None:
    assert figure(value, unit, "EUR") == written


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_a_summary_is_filled_whole(row: AlertRow) -> None:
    assert placeholders(row) <= {"subject", "value", "limit"}
    # Only what is either so or not has no figure.
    assert "value" in placeholders(row) or row.name == "store_down"
    text = summary(row, {"site": "s", "pool": "chat"}, value=1.5, limit=1.25)
    assert "{" not in text
    assert "site" not in subject_of({"site": "s", "pool": "chat"})


def test_what_is_about_the_whole_site_says_so() -> None:
    assert subject_of({"site": "north"}) == "site north"
    assert subject_of({"site": "north", "of": "tokens", "pool": "chat"}) == "tokens, pool chat"
    ends = {"site": "north", "table": "tariff", "entry": "grid"}
    assert subject_of(ends) == "tariff grid"
    assert summary(CATALOGUE["ending"], ends, value=20.0, limit=30.0) == (
        "tariff grid ends in 20 days, and nothing follows"
    )
