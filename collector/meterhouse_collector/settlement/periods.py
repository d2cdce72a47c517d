"""Windows of statements: calendar periods and instants by the site's clock, in whole quarter hours.

Pure; every fault is a ``ValueError`` of one line.
"""

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.money.billing_month import MONTHS_PER_YEAR, QUARTER_SECONDS

_PERIOD: Final = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(0[1-9]|1[0-2])))?")
_QUARTER_MONTHS: Final = 3
ALLOWED: Final = "a month like 2026-10, a quarter like 2026-Q3, or a year like 2026"


class Period(NamedTuple):
    """A calendar month, quarter or year of a site, by its name and its Unix times."""

    name: str
    begins: int
    ends: int

    @property
    def window(self) -> tuple[int, int]:
        """Its beginning and end."""
        return self.begins, self.ends


def parse_period(text: str, zone: ZoneInfo) -> Period:
    """Return the period of a name; raise ``ValueError`` for what is none."""
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError(f"found {text!r}, allowed: {ALLOWED}")
    year = int(match[1])
    if match[2]:
        first, months = (int(match[2]) - 1) * _QUARTER_MONTHS, _QUARTER_MONTHS
    elif match[3]:
        first, months = int(match[3]) - 1, 1
    else:
        first, months = 0, MONTHS_PER_YEAR
    try:
        begins, ends = (
            _midnight(year + month // MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1, zone)
            for month in (first, first + months)
        )
    except (ValueError, OverflowError):
        raise ValueError(f"found {text!r}, allowed: years 1 to 9998") from None
    return Period(text, begins, ends)


def _midnight(year: int, month: int, zone: ZoneInfo) -> int:
    return int(datetime(year, month, 1, tzinfo=zone).timestamp())


def parse_instant(text: str, zone: ZoneInfo) -> int:
    """Return the Unix time of a date or an instant, by the site's clock where it has no offset.

    Raise ``ValueError`` where it is none, or where the clock shows it twice or never.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        allowed = "a date like 2026-10-01, or an instant like 2026-10-01T06:15"
        raise ValueError(f"found {text!r}, allowed: {allowed}") from None
    if moment.tzinfo is None:
        moment = _local(moment, zone)
    return _whole(moment.timestamp(), text)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"found {moment}, which the clock of {zone.key} never shows")
    if first.timestamp() != second.timestamp():
        raise ValueError(f"found {moment}, which {zone.key} has twice: give it with its offset")
    return first


def _whole(seconds: float, text: str) -> int:
    if seconds % QUARTER_SECONDS:
        raise ValueError(f"found {text!r}, allowed: a full quarter hour")
    return int(seconds)


def local_text(at_seconds: float, zone: ZoneInfo) -> str:
    """Return an instant as people read it on the site, with its offset."""
    return datetime.fromtimestamp(at_seconds, zone).strftime("%Y-%m-%d %H:%M %z")


def utc_text(at_seconds: float) -> str:
    """Return an instant in UTC, to the second."""
    return datetime.fromtimestamp(at_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
