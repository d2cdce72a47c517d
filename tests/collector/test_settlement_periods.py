"""Periods and instants by the site's clock."""

from zoneinfo import ZoneInfo

import pytest

from meterhouse_collector.settlement.periods import (
    Period,
    local_text,
    parse_instant,
    parse_period,
    utc_text,
)
from tests.collector.bills import BERLIN, KOLKATA, instant


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("2026-10", "2026-10-01", "2026-11-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2026-Q1", "2026-01-01", "2026-04-01"),
        ("2026-Q4", "2026-10-01", "2027-01-01"),
        ("2026", "2026-01-01", "2027-01-01"),
    ],
)
def test_periods_begin_and_end_at_local_midnights(name: str, begins: str, ends: str) -> None:
    for zone in (BERLIN, KOLKATA):
        expected = Period(name, instant(begins, zone), instant(ends, zone))
        assert parse_period(name, zone) == expected
        assert expected.window == (expected.begins, expected.ends)


@pytest.mark.parametrize("name", ["", "2026-13", "2026-00", "2026-Q5", "26-10", "2026-1", "10000"])
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="allowed: a month like 2026-10"):
        parse_period(name, BERLIN)


@pytest.mark.parametrize("name", ["0000", "9999", "9999-12"])
def test_years_that_no_calendar_has_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="allowed: years 1 to 9998"):
        parse_period(name, ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-10-01", "2026-09-30T22:00:00Z"),
        ("2026-10-01T06:15", "2026-10-01T04:15:00Z"),
        ("2026-10-01T06:15Z", "2026-10-01T06:15:00Z"),
        # The hour that Berlin has twice, told apart by its offset.
        ("2026-10-25T02:30+02:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30:00Z"),
    ],
)
def test_instants_are_by_the_local_clock_unless_they_say_their_offset(text: str, utc: str) -> None:
    assert utc_text(parse_instant(text, BERLIN)) == utc


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tomorrow", "allowed: a date like 2026-10-01"),
        ("2026-10-25T02:30", "has twice: give it with its offset"),
        ("2026-03-29T02:30", "which the clock of Europe/Berlin never shows"),
        ("2026-10-01T06:10", "allowed: a full quarter hour"),
        ("2026-10-01T06:15:00.5", "allowed: a full quarter hour"),
    ],
)
def test_what_is_no_instant_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_instant(text, BERLIN)


def test_people_read_the_offset() -> None:
    assert local_text(instant("2026-10-01T06:15"), BERLIN) == "2026-10-01 06:15 +0200"
