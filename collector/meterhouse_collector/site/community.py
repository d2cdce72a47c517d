"""What is known of the region by hand: each entry dated, and with its source."""

from datetime import date
from typing import Literal

from pydantic import model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Amount,
    Currency,
    Dated,
    Money,
    Name,
    Text,
)


class RegionalCapacity(Dated):
    """Power that the region's grid could still give."""

    region: Text
    available_watts: Amount
    source: Text


class WaterStress(Dated):
    """Withdrawals of a basin over what it renews; above 1 it is drawn down."""

    basin: Text
    stress_ratio: Amount
    source: Text


class Land(Dated):
    """Land that the site takes, by what it is used for."""

    name: Name
    kind: Literal["building", "sealed", "green", "leased"]
    square_metres: Amount
    source: Text


class LocalPayment(Section):
    """What was paid to the place: taxes, fees, gifts."""

    paid_on: date
    recipient: Text
    purpose: Text
    amount: Money
    currency: Currency | None = None
    source: Text


class GeneratorRun(Section):
    """Hours that a generator ran in a stretch of days, to be held against its permit."""

    generator: Name
    begins: date
    ends: date
    hours: Amount
    reason: Literal["test", "outage", "grid_service"]
    source: Text

    @model_validator(mode="after")
    def _fits(self) -> "GeneratorRun":
        if self.ends <= self.begins:
            raise ValueError(f"an ends after begins, {self.begins}")
        if self.hours > (self.ends - self.begins).days * 24 + 1:
            raise ValueError("no more hours than the days have")
        return self
