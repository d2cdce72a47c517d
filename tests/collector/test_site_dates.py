"""Entries of one name that follow each other: faults of their dates, and which is in force."""

from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.settings import Section
from meterhouse_collector.site.checks.dates import EVENTS
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Cluster
from meterhouse_collector.site.timeline import Timeline
from tests.collector.sites import BASE, ENGINE, HEAD, POOLS, faults, index

BERLIN_2026 = 1_767_222_000  # 2026-01-01 in Berlin is 2025-12-31T23:00Z


def tariffs(*dates: tuple[str, str | None], name: str = "grid") -> str:
    text = ""
    for begins, ends in dates:
        text += f'[[tariff]]\nname = "{name}"\nper_kwh = 0.18\nvalid_from = {begins}\n'
        text += f"valid_to = {ends}\n" if ends is not None else ""
    return text


def clusters(*dates: tuple[str | None, str | None]) -> str:
    text = ""
    for begins, ends in dates:
        text += '[[cluster]]\nname = "c1"\n'
        text += f"valid_from = {begins}\n" if begins is not None else ""
        text += f"valid_to = {ends}\n" if ends is not None else ""
    return text


def test_entries_of_a_name_may_neither_overlap_nor_leave_a_gap() -> None:
    parse_site(HEAD + tariffs(("2026-01-01", None), ("2026-06-01", "2027-01-01")), "site.toml")
    parse_site(HEAD + tariffs(("2026-06-01", None), ("2026-01-01", "2026-06-01")), "site.toml")
    assert faults(HEAD + tariffs(("2026-01-01", "2026-05-01"), ("2026-06-01", None))) == [
        (
            "site.toml: tariff.0.valid_to: found 2026-05-01, a gap,"
            " allowed: 2026-06-01, when tariff.1 begins"
        )
    ]
    assert faults(HEAD + tariffs(("2026-01-01", "2026-07-01"), ("2026-06-01", None))) == [
        (
            "site.toml: tariff.0.valid_to: found 2026-07-01, an overlap,"
            " allowed: 2026-06-01, when tariff.1 begins"
        )
    ]
    assert faults(HEAD + tariffs(("2026-01-01", None), ("2026-01-01", None))) == [
        (
            "site.toml: tariff.1.valid_from: found 2026-01-01 again,"
            " allowed: each date once, as tariff.0 begins then too"
        )
    ]
    assert "allowed: after" in faults(HEAD + tariffs(("2026-01-01", "2025-01-01")))[0]


def test_what_holds_from_ever_is_checked_alike() -> None:
    parse_site(HEAD + clusters((None, None), ("2026-01-01", None)), "site.toml")
    parse_site(HEAD + clusters((None, "2026-01-01"), ("2026-01-01", None)), "site.toml")
    assert "a gap" in faults(HEAD + clusters((None, "2025-12-01"), ("2026-01-01", None)))[0]
    assert faults(HEAD + clusters((None, None), (None, None))) == [
        "site.toml: cluster.1.name: found 'c1' again, allowed: each name once, and cluster.0 has it"
    ]


def test_tariffs_of_different_names_are_independent_and_add_up() -> None:
    text = tariffs(("2026-01-01", None)) + tariffs(("2026-02-01", "2026-05-01"), name="network")
    known = index(HEAD + text)
    prices = [known.price_per_joule(BERLIN_2026 + days * 86_400) for days in (0, 40, 200)]
    assert prices == [pytest.approx(cents / 3.6e6) for cents in (0.18, 0.36, 0.18)]


def test_tariff_follows_its_dates_in_the_time_zone_of_the_site() -> None:
    known = index(HEAD + tariffs(("2026-01-01", "2026-06-01")))
    assert known.price_per_joule(BERLIN_2026 - 1) is None
    assert known.price_per_joule(BERLIN_2026) == pytest.approx(0.18 / 3.6e6)
    assert known.price_per_joule(1_790_000_000) is None


def test_price_follows_the_clock_the_levy_and_the_exchange_rate() -> None:
    component = "[[tariff.component]]\n"
    text = (
        '[[tariff]]\ncurrency = "USD"\nvalid_from = 2026-01-01\n'
        + component
        + 'kind = "time_of_use"\nper_kwh = 0.20\nfrom_time = 07:00:00\nto_time = 22:00:00\n'
        + component
        + 'kind = "time_of_use"\nper_kwh = 0.10\n'
        + component
        + 'kind = "levy"\nper_cent = 10\nof = ["time_of_use"]\n'
        + '[[exchange_rate]]\nfrom_currency = "USD"\nto_currency = "EUR"\nrate = 0.5\n'
        + 'valid_from = 2026-01-01\nsource = "ECB"\n'
    )
    known = index(HEAD + text)
    assert known.price_per_joule(BERLIN_2026 + 7 * 3600 - 1) == pytest.approx(0.055 / 3.6e6)
    assert known.price_per_joule(BERLIN_2026 + 7 * 3600) == pytest.approx(0.11 / 3.6e6)


def test_colocation_passes_energy_through_at_its_price() -> None:
    text = (
        '[[colocation]]\nname = "hall"\ncommitted_kw = 100\nper_kw = 140\nper_kwh = 0.25\n'
        "valid_from = 2026-01-01\n"
    )
    assert index(HEAD + text).price_per_joule(BERLIN_2026) == pytest.approx(0.25 / 3.6e6)


def test_tier_has_no_live_price_as_the_import_of_the_month_is_not_known() -> None:
    step = "step = [{ up_to_kwh = 100, per_kwh = 0.3 }, { per_kwh = 0.2 }]\n"
    text = '[[tariff]]\nvalid_from = 2026-01-01\n[[tariff.component]]\nkind = "tier"\n' + step
    assert index(HEAD + text).price_per_joule(BERLIN_2026) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BASE + POOLS.split("[[hardware]]", maxsplit=1)[0], "pool.2.name: found 'chat' again"),
        (BASE + ENGINE, "engine.1.name: found 'e1' again"),
        (
            BASE + "[[hardware]]" + POOLS.split("[[hardware]]")[1],
            "hardware.1.accelerator_model: found 'M' again",
        ),
        (
            HEAD + '[[pipeline]]\nname = "p"\nkind = "permit"\n' * 2,
            "pipeline.1.name: found 'p' again",
        ),
    ],
)
def test_name_that_is_there_twice_is_a_fault(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(text))


def test_every_table_but_events_has_a_key_to_tell_entries_apart() -> None:
    tables = SiteModel.model_fields.keys() - {"name", "currency", "time_zone"}
    assert set(EVENTS) < tables
    dated = {name for name in tables if "valid_from" in _keys(name)}
    assert dated.isdisjoint(EVENTS)
    # These have no end of their own, or dates of another kind.
    others = {"shared_equipment", "certificate", "pipeline", "exchange_rate"}
    assert dated | others - {"exchange_rate"} | set(EVENTS) == tables
    assert {n for n in dated if "valid_to" not in _keys(n)} == {"exchange_rate"}


def _keys(table: str) -> set[str]:
    annotation = SiteModel.model_fields[table].annotation
    section: type[Section] = get_args(annotation)[0]
    return set(section.model_fields)


def test_dated_tables_have_a_timeline_each() -> None:
    known = index()
    tables = {
        name
        for name in SiteModel.model_fields
        if isinstance(getattr(known.model, name), tuple) and "valid_from" in _keys(name)
    }
    assert tables - {"exchange_rate"} == set(vars(known.dated))


DAYS = st.lists(st.dates(date(2020, 1, 1), date(2030, 1, 1)), min_size=1, max_size=5, unique=True)


def _seconds(day: date) -> float:
    return float((day - date(2020, 1, 1)) // timedelta(days=1) * 86_400)


@given(DAYS, st.integers(-86_400, 3700 * 86_400))
def test_one_entry_is_in_force_from_the_first_day_on(days: list[date], at_seconds: int) -> None:
    entries = [
        Cluster(name="c", valid_from=day, powerable_watts=float(day.toordinal())) for day in days
    ]
    timeline = Timeline(entries, lambda entry: entry.name, _seconds)
    begun = [day for day in days if _seconds(day) <= at_seconds]
    found = timeline.get("c", at_seconds)
    assert (found.powerable_watts if found else None) == (
        float(max(begun).toordinal()) if begun else None
    )
    assert timeline.at(at_seconds) == ({"c": found} if found else {})
    assert timeline.instants == timeline.changes("c") == tuple(sorted(map(_seconds, days)))
    assert timeline["c"] == tuple(sorted(entries, key=lambda entry: entry.valid_from or date.min))
    assert (timeline["d"], timeline.changes("d")) == ((), ())
