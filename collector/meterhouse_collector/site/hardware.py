"""What equipment and its operation cost: prices, lives, salvage, interest, support, staff."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Amount,
    Currency,
    Dated,
    Duration,
    Lasting,
    Money,
    Name,
    Text,
    Watts,
)

Depreciation = Literal["straight_line", "annuity"]
YearlyRate = Annotated[Decimal, Field(ge=0, le=1)]


def _check(price: Decimal, salvage: Decimal, how: Depreciation, rate: Decimal | None) -> None:
    if salvage > price:
        raise ValueError(f"a salvage of at most the price, {price}")
    if how == "annuity" and rate is None:
        raise ValueError('a cost_of_capital with depreciation = "annuity"')


class Hardware(Lasting):
    """What one device of an accelerator model costs, with its share of the node.

    A price holds for what was purchased while it was valid, and not for what is there already.
    ``cost_of_capital`` is per year; ``peak_watts`` is the most a device and its share of the node
    draw, by which what can be powered is counted in devices.
    """

    accelerator_model: Text
    vendor: Name
    price_per_device: Money
    salvage_per_device: Money = Decimal(0)
    life: Duration
    depreciation: Depreciation = "straight_line"
    cost_of_capital: YearlyRate | None = None
    support_per_device_year: Money = Decimal(0)
    decommissioning_per_device: Money = Decimal(0)
    currency: Currency | None = None
    peak_watts: Watts | None = None
    embodied_carbon_kg: Amount | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Hardware":
        _check(
            self.price_per_device, self.salvage_per_device, self.depreciation, self.cost_of_capital
        )
        return self


class SharedEquipment(Section):
    """What all devices share by their number: network, storage, building, grid connection.

    Delivered but not yet in service it has a price too, from ``purchased`` on. What the ``meters``
    of network and storage count is shared by the number of devices, too.
    """

    name: Name
    kind: Literal["network", "storage", "building", "power", "cooling", "grid_connection", "other"]
    price: Money
    salvage: Money = Decimal(0)
    purchased: date | None = None
    in_service: date
    retired: date | None = None
    life: Duration
    depreciation: Depreciation = "straight_line"
    cost_of_capital: YearlyRate | None = None
    support_per_year: Money = Decimal(0)
    decommissioning: Money = Decimal(0)
    currency: Currency | None = None
    embodied_carbon_kg: Amount | None = None
    meters: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "SharedEquipment":
        _check(self.price, self.salvage, self.depreciation, self.cost_of_capital)
        if self.meters and self.kind not in ("network", "storage"):
            raise ValueError('meters with kind = "network" or "storage", and only there')
        if self.retired is not None and self.retired <= self.in_service:
            raise ValueError(f"a retired date after in_service, {self.in_service}")
        if self.purchased is not None and self.purchased > self.in_service:
            raise ValueError(f"a purchased date not after in_service, {self.in_service}")
        return self


class Operations(Dated):
    """What running the site costs by month or year, spread over all devices by their number.

    An ``avoidable`` part ends when what it is for stops; the rest is sunk.
    """

    name: Name
    kind: Literal["staff", "space", "network", "storage", "software", "insurance", "other"]
    amount: Money
    per: Literal["month", "year"] = "month"
    currency: Currency | None = None
    avoidable: bool = False
