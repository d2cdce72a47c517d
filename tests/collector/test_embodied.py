"""Embodied carbon that falls to a window: kg for each device * time in service / life."""

from datetime import date

import pytest

from meterhouse_collector.site.by_hand import ByHand, by_hand
from meterhouse_collector.site.embodied import embodied_carbon
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site

DAY = 86_400
HEAD = """
name = "site-a"
currency = "EUR"
time_zone = "UTC"
[[pool]]
name = "chat"
cluster = "c1"
"""
HARDWARE = """
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 1000
life = "1000d"
embodied_carbon_kg = 160.0
"""
SHARED = """
[[shared_equipment]]
name = "fabric"
kind = "network"
price = 1000
in_service = 2026-01-01
life = "100d"
embodied_carbon_kg = 500.0
"""


def asset(nodes: str = '["node-1", "node-2"]', **changed: str) -> str:
    """Return an entry of the register, with keys changed."""
    keys = {
        "nodes": nodes,
        "pool": '"chat"',
        "accelerator_model": '"h100"',
        "devices": "4",
        "in_service": "2026-01-01",
        **changed,
    }
    return "\n".join(["[[asset]]", *(f"{key} = {value}" for key, value in keys.items()), ""])


def site(*texts: str) -> SiteIndex:
    return SiteIndex(parse_site(HEAD + "\n".join(texts), "site.toml"))


def embodied(known: SiteIndex, begins: date, ends: date) -> dict[str, float]:
    """Return the carbon by name of the days [begins, ends)."""
    instants = (int(known.model.instant(day)) for day in (begins, ends))
    return dict(embodied_carbon(known, *instants))


def test_of_a_life_of_a_thousand_days_ten_days_are_a_hundredth() -> None:
    known = site(HARDWARE, asset(), SHARED)
    found = embodied(known, date(2026, 2, 1), date(2026, 2, 11))
    # Eight devices of 160 kg; the fabric lives a hundred days.
    assert found == {"h100": pytest.approx(12.8), "fabric": pytest.approx(50.0)}


def test_nothing_falls_before_service_after_retirement_or_after_the_life() -> None:
    known = site(HARDWARE, asset(retired="2026-01-06"), SHARED)
    assert embodied(known, date(2025, 1, 1), date(2026, 1, 1)) == {}
    assert embodied(known, date(2025, 12, 27), date(2026, 1, 11)) == {
        "h100": pytest.approx(160 * 8 * 5 / 1000),
        "fabric": pytest.approx(50.0),
    }
    # The fabric is there still, and its hundred days are over.
    assert embodied(known, date(2026, 4, 1), date(2026, 5, 1))["fabric"] == pytest.approx(50.0)
    assert embodied(known, date(2026, 6, 1), date(2026, 7, 1)) == {"fabric": 0.0}


def test_it_ages_from_its_delivery() -> None:
    known = site(HARDWARE, asset(purchased="2023-04-07", delivered="2023-04-07"))
    # Delivered a thousand days before 2026-01-01.
    assert embodied(known, date(2026, 1, 1), date(2026, 1, 11)) == {"h100": 0.0}


def test_a_figure_of_a_part_of_the_devices_says_so() -> None:
    later = HARDWARE.replace("embodied_carbon_kg = 160.0", "valid_from = 2026-03-01")
    known = site(HARDWARE, later, asset(), asset('["node-3"]', in_service="2026-03-02"))
    found = embodied(known, date(2026, 3, 2), date(2026, 3, 12))
    assert found == {"h100 (8 of 12 devices)": pytest.approx(12.8)}


def test_without_a_figure_there_is_none() -> None:
    bare = HARDWARE.replace("embodied_carbon_kg = 160.0", "")
    known = site(bare, asset(), SHARED.replace("embodied_carbon_kg = 500.0", ""))
    assert embodied(known, date(2026, 2, 1), date(2026, 2, 11)) == {}


def test_it_stands_among_what_is_known_by_hand() -> None:
    known = site(HARDWARE, asset())
    begins = int(known.model.instant(date(2026, 2, 1)))
    (found,) = by_hand(known, begins, begins + 10 * DAY)
    assert found.value == pytest.approx(12.8)
    assert found == ByHand("embodied_carbon", "h100", found.value, "kg", None, "site model")
