"""Capacity that is bought and sold, commitments, what is still to come, and prices of tokens."""

from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Count,
    Currency,
    Dated,
    Duration,
    Money,
    Name,
    Promise,
    Ratio,
    Share,
    Text,
    Watts,
    revised,
)

Stage = Literal[
    "planned", "ordered", "shipped", "delivered", "installed", "commissioned", "in_production"
]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
Promised = Annotated[tuple[Promise, ...], AfterValidator(revised)]


class RampStep(Section):
    """From this day on, so many units are contracted."""

    begins: date
    units: Annotated[int, Field(ge=0)]


class Credit(Section):
    """Below this part of the contracted units, this part of the month's rate is credited."""

    below_ratio: Share
    credit_ratio: Share


class Prepayment(Section):
    """What was paid ahead on a day; it is used up by what falls due."""

    paid_on: date
    amount: Money


class Outage(Section):
    """Units that could not be delivered for a while, by hand; all of them where it names none.

    Work that was announced is ``planned``; ``agreed_by`` says who of both sides took it for that.
    """

    begins: AwareDatetime
    ends: AwareDatetime
    units: Count | None = None
    reason: Literal["planned", "tenant_caused"]
    agreed_by: Text

    @model_validator(mode="after")
    def _dates(self) -> "Outage":
        if self.ends <= self.begins:
            raise ValueError(f"an ends after begins, {self.begins}")
        return self

    def seconds_within(self, begins: float, ends: float) -> float:
        """Return how much of a stretch of Unix seconds it lasted."""
        return max(0.0, min(ends, self.ends.timestamp()) - max(begins, self.begins.timestamp()))


class CapacityContract(Dated):
    """A contract for capacity, bought or sold, counted in the unit contracted.

    Of each unit at least ``take_or_pay_ratio`` is paid, delivered or not. ``rate`` is in
    ``currency`` per unit and hour, per unit and month, or per month for the whole. An ``outage``
    of a reason that it excludes is no loss of delivery.
    """

    name: Name
    side: Literal["bought", "sold"]
    counterparty: Text
    tenant: Name | None = None
    pools: Annotated[tuple[Name, ...], Field(min_length=1)]
    unit: Literal["device", "node", "rack", "fabric_group"] = "device"
    units: Count
    ramp: tuple[RampStep, ...] = ()
    rate: Money
    rate_per: Literal["unit_hour", "unit_month", "month"] = "unit_hour"
    currency: Currency | None = None
    take_or_pay_ratio: Ratio = 1.0
    prepayment: tuple[Prepayment, ...] = ()
    credit: tuple[Credit, ...] = ()
    excludes_planned: bool = False
    excludes_tenant_caused: bool = False
    outage: tuple[Outage, ...] = ()
    includes_energy: bool = False
    notice: Duration | None = None
    promised: Promised = ()

    @model_validator(mode="after")
    def _consistent(self) -> "CapacityContract":
        if (self.side == "sold") != (self.tenant is not None):
            raise ValueError('a tenant with side = "sold", and only there')
        days = [step.begins for step in self.ramp]
        if days != sorted(set(days)) or (days and days[0] < self.valid_from):
            raise ValueError(f"ramp steps in the order of their days, from {self.valid_from} on")
        for one, other in pairwise(self.credit):
            if one.below_ratio <= other.below_ratio or one.credit_ratio >= other.credit_ratio:
                raise ValueError("credits that rise as the delivered part falls")
        return self

    def units_on(self, day: date) -> int:
        """Return how many units are contracted on a day: the last step of the ramp, or all."""
        if day < self.valid_from or (self.valid_to is not None and day >= self.valid_to):
            return 0
        if not self.ramp:
            return self.units
        steps = [step.units for step in self.ramp if step.begins <= day]
        return steps[-1] if steps else 0

    def excludes(self, outage: Outage) -> bool:
        """Tell whether an outage is no loss of delivery under this contract."""
        return self.excludes_planned if outage.reason == "planned" else self.excludes_tenant_caused


class Commitment(Dated):
    """What was promised to be spent or used, after the FOCUS contract commitment.

    A ``continuous`` one is lost where it is not used in each interval; a ``discontinuous`` one is
    settled at the interval's end.
    """

    name: Name
    contract: Name
    category: Literal["spend", "usage"]
    model: Literal["continuous", "discontinuous"] = "discontinuous"
    interval: Literal["hour", "month", "year", "term"] = "month"
    amount: Money | None = None
    device_hours: Annotated[Decimal, Field(gt=0)] | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _unit(self) -> "Commitment":
        if (self.amount is None) == (self.device_hours is None) or (
            (self.category == "spend") != (self.amount is not None)
        ):
            raise ValueError('amount with category = "spend", device_hours with "usage"')
        return self


class Coming(Section):
    """Capacity of any kind that is still to come: its stage, and what was promised when.

    ``stages`` has the day on which each stage was reached; ``promised`` is for the delivery;
    ``peak_watts`` is of one, by default that of its hardware.
    """

    name: Name
    kind: Literal["devices", "network", "storage", "power", "cooling", "building", "permit"]
    contract: Name | None = None
    pool: Name | None = None
    accelerator_model: Text | None = None
    quantity: Count = 1
    peak_watts: Watts | None = None
    stages: dict[Stage, date] = Field(default_factory=dict)
    promised: Promised = ()
    in_production_due: date | None = None
    needs: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Coming":
        days = [self.stages[stage] for stage in STAGES if stage in self.stages]
        if days != sorted(days):
            raise ValueError(f"stages reached in the order {', '.join(STAGES)}")
        if (self.kind == "devices") != (self.accelerator_model is not None):
            raise ValueError('an accelerator_model with kind = "devices", and only there')
        return self

    def stage_on(self, day: date) -> Stage:
        """Return the last stage that was reached by a day."""
        reached = [s for s in STAGES if s in self.stages and self.stages[s] <= day]
        return reached[-1] if reached else "planned"

    @property
    def slippage_days(self) -> int | None:
        """Days from the delivery first promised to the one that came, or is promised now."""
        if not self.promised:
            return None
        now = self.stages.get("delivered", self.promised[-1].due)
        return (now - self.promised[0].due).days

    @property
    def to_production_days(self) -> int | None:
        """Days from delivery to production, None before both."""
        if "delivered" not in self.stages or "in_production" not in self.stages:
            return None
        return (self.stages["in_production"] - self.stages["delivered"]).days


class TokenPrice(Dated):
    """What a million tokens of a served model are sold for, to one tenant or to all."""

    served_model: Text
    tenant: Name | None = None
    input_per_million: Money
    cached_input_per_million: Money | None = None
    output_per_million: Money
    currency: Currency | None = None
