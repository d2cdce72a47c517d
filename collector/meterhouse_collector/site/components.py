"""What a tariff is made of: one class for each kind of component of an electricity bill.

Prices are in money of the tariff's currency per kWh, kW, kVA or month, as contracts state them.
A month is a calendar month in the site's time zone, never 720 or 730.5 hours.
"""

from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from meterhouse_agent import wire
from meterhouse_collector.settings import Section

QUARTER_SECONDS: Final = 900
STEP_SECONDS: Final = {"15m": 900, "30m": 1800, "60m": 3600}

Name = Annotated[str, Field(pattern=wire.NAME_PATTERN)]
Money = Annotated[Decimal, Field(ge=0)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Month = Annotated[int, Field(ge=1, le=12)]
Step = Literal["15m", "30m", "60m"]

DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS: Final = tuple(range(1, 13))


def _on_quarter(value: time) -> time:
    if value.tzinfo is not None or value.minute % 15 or value.second or value.microsecond:
        raise ValueError('a local time on a quarter hour, like "07:00" or "22:15"')
    return value


QuarterTime = Annotated[time, AfterValidator(_on_quarter)]


class LocalWindow(Section):
    """A part of the week and year by the local clock.

    The day and month are those of the instant itself, so of 22:00 to 06:00 on Mondays the hours
    before six are early Monday. The same time twice is the whole day; 00:00 as an end is midnight.
    """

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    from_time: QuarterTime = time(0)
    to_time: QuarterTime = time(0)
    months: Annotated[tuple[Month, ...], Field(min_length=1)] = MONTHS

    def contains(self, local: datetime) -> bool:
        """Tell whether an instant, given in local time, is in the window."""
        if local.month not in self.months or DAYS[local.weekday()] not in self.days:
            return False
        if self.from_time == self.to_time:
            return True
        clock = local.time()
        if self.to_time == time(0) or self.from_time < self.to_time:
            return self.from_time <= clock and (self.to_time == time(0) or clock < self.to_time)
        return clock >= self.from_time or clock < self.to_time


class Energy(Section):
    """One price for every kWh of import."""

    kind: Literal["energy"] = "energy"
    name: Name = "energy"
    per_kwh: Money


class TimeOfUse(LocalWindow):
    """The price of import in a window; the first that fits among those of one name holds.

    A quarter hour that fits none of them has no price: an off-peak price of 0 is said, not meant.
    """

    kind: Literal["time_of_use"] = "time_of_use"
    name: Name = "time_of_use"
    per_kwh: Money


class TierStep(Section):
    """The price of import up to so many kWh in a month; the last step has no end."""

    up_to_kwh: Annotated[Decimal, Field(gt=0)] | None = None
    per_kwh: Money


class Tier(Section):
    """Prices by the import of the billing month so far."""

    kind: Literal["tier"] = "tier"
    name: Name = "tier"
    step: Annotated[tuple[TierStep, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> "Tier":
        *bounded, last = self.step
        ends = [step.up_to_kwh for step in bounded if step.up_to_kwh is not None]
        if last.up_to_kwh is not None or len(ends) != len(bounded):
            raise ValueError("up_to_kwh in every step but the last")
        if any(before >= after for before, after in pairwise(ends)):
            raise ValueError("steps whose up_to_kwh rises")
        return self


class SeriesPoint(Section):
    """The price from an instant for one step of its series; a market's may be negative."""

    begins: AwareDatetime
    per_kwh: Decimal


class Series(Section):
    """Dated prices of import, each for one step; a gap between two has no price."""

    kind: Literal["series"] = "series"
    name: Name = "series"
    step: Step = "60m"
    point: tuple[SeriesPoint, ...] = ()
    path: Path | None = None

    @model_validator(mode="after")
    def _points(self) -> "Series":
        if (self.path is None) == (not self.point):
            raise ValueError("either point or path")
        seconds = STEP_SECONDS[self.step]
        starts = sorted(point.begins.timestamp() for point in self.point)
        if any(start % QUARTER_SECONDS for start in starts):
            raise ValueError("points that begin on a quarter hour")
        if any(after - before < seconds for before, after in pairwise(starts)):
            raise ValueError(f"points at least a step apart, {self.step}")
        return self


class MonthPeak(Section):
    """The highest mean power of a month, which is named by its first day."""

    month: date
    kw: Annotated[Decimal, Field(ge=0)]

    @model_validator(mode="after")
    def _first(self) -> "MonthPeak":
        if self.month.day != 1:
            raise ValueError(f"found month {self.month}, allowed: the first day of a month")
        return self


class Demand(LocalWindow):
    """A price per kW and month of the highest mean power in the utility's own intervals.

    With a ratchet, at least ``ratchet_ratio`` of the highest peak of the last ``ratchet_months``
    months, 12 at most, is billed: of those measured, and of ``billed_peak``, which are of months
    that were not. A ``forecast_peak`` is billed while its month is open, unless more was drawn.
    """

    kind: Literal["demand"] = "demand"
    name: Name = "demand"
    per_kw: Money
    interval: Step = "15m"
    ratchet_ratio: Annotated[Decimal, Field(gt=0, le=1)] | None = None
    ratchet_months: Annotated[int, Field(ge=1, le=12)] | None = None
    billed_peak: tuple[MonthPeak, ...] = ()
    forecast_peak: tuple[MonthPeak, ...] = ()

    @model_validator(mode="after")
    def _ratchet(self) -> "Demand":
        if (self.ratchet_ratio is None) != (self.ratchet_months is None):
            raise ValueError("both ratchet_ratio and ratchet_months, or neither")
        for peaks in (self.billed_peak, self.forecast_peak):
            months = [peak.month for peak in peaks]
            if len(set(months)) != len(months):
                raise ValueError("one peak for each month")
        return self


class Contracted(Section):
    """A price per kVA and month of what the connection was contracted for, drawn or not."""

    kind: Literal["contracted"] = "contracted"
    name: Name = "contracted"
    per_kva: Money
    kva: Annotated[Decimal, Field(gt=0)]


class CoincidentPeak(Section):
    """A price per kW and month of the mean power in the hours when the grid itself peaked.

    A month without one of the ``hours`` costs nothing.
    """

    kind: Literal["coincident_peak"] = "coincident_peak"
    name: Name = "coincident_peak"
    per_kw: Money
    hours: Annotated[tuple[AwareDatetime, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "CoincidentPeak":
        starts = [hour.timestamp() for hour in self.hours]
        if len(set(starts)) != len(starts) or any(start % QUARTER_SECONDS for start in starts):
            raise ValueError("hours that begin on a quarter hour, each once")
        return self


class Fixed(Section):
    """A price per month."""

    kind: Literal["fixed"] = "fixed"
    name: Name = "fixed"
    per_month: Money


class Levy(Section):
    """Per cent of other components, named by ``name`` or ``kind``; of levies, those before it.

    A tax that is recovered is no cost, and is left out of the tariff.
    """

    kind: Literal["levy"] = "levy"
    name: Name = "levy"
    per_cent: Money
    of: Annotated[tuple[Name, ...], Field(min_length=1)]


class Export(Section):
    """What is credited for a kWh fed into the grid; below zero it costs."""

    kind: Literal["export"] = "export"
    name: Name = "export"
    per_kwh: Decimal


Component = Annotated[
    Energy
    | TimeOfUse
    | Tier
    | Series
    | Demand
    | Contracted
    | CoincidentPeak
    | Fixed
    | Levy
    | Export,
    Field(discriminator="kind"),
]
