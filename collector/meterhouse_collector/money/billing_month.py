"""The billing month: a calendar month by the local clock, in UTC quarter hours."""

from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

QUARTER_SECONDS: Final = 900
MONTHS_PER_YEAR: Final = 12


def month_number(year: int, month: int) -> int:
    """Return months since year 0."""
    return year * MONTHS_PER_YEAR + month - 1


class BillingMonth(NamedTuple):
    """A month, and the Unix times between which it lies."""

    year: int
    month: int
    begins: int
    ends: int

    @property
    def quarters(self) -> int:
        """How many quarter hours it has: 2,976 in 31 days, four more or less with a DST change."""
        return (self.ends - self.begins) // QUARTER_SECONDS

    @property
    def number(self) -> int:
        """Months since year 0, to count from one month to another."""
        return month_number(self.year, self.month)

    def position(self, start_seconds: int) -> int:
        """Return which quarter of the month begins at an instant."""
        return (start_seconds - self.begins) // QUARTER_SECONDS


def billing_month(start_seconds: int, zone: ZoneInfo) -> BillingMonth:
    """Return the month in which an instant lies by the local clock."""
    local = datetime.fromtimestamp(start_seconds, zone)
    return _month(local.year, local.month, zone)


@lru_cache(maxsize=1024)
def _month(year: int, month: int, zone: ZoneInfo) -> BillingMonth:
    following = (year + 1, 1) if month == MONTHS_PER_YEAR else (year, month + 1)
    begins = datetime(year, month, 1, tzinfo=zone)
    ends = datetime(*following, 1, tzinfo=zone)
    return BillingMonth(year, month, int(begins.timestamp()), int(ends.timestamp()))
