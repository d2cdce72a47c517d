"""Where energy comes from, and what it emits: sources, dated factors, certificates, fuel, losses.

Location-based and market-based emissions are kept apart (GHG Protocol, scope 2); scope 1 comes from
fuel and refrigerant.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Amount,
    Currency,
    Dated,
    Lasting,
    Money,
    Name,
    Ratio,
    Text,
)

Method = Literal["location", "market"]


class EnergySource(Lasting):
    """Where a part of the energy comes from, and the meters that measure it.

    What it costs is said by the tariff of ``tariffs``, or by the ``[[supply]]`` of the same name.
    """

    name: Name
    kind: Literal["grid", "ppa", "on_site", "fuel", "export", "purchased_cooling"]
    meters: tuple[Name, ...] = ()
    tariffs: tuple[Name, ...] = ()
    renewable_ratio: Ratio = 0.0


class EmissionFactor(Dated):
    """Emissions of one kWh of a source; ``signal`` keeps average and marginal apart."""

    energy_source: Name
    method: Method
    signal: Literal["average", "marginal"] = "average"
    scope: Literal["direct", "lifecycle"] = "direct"
    kg_per_kwh: Amount
    litres_per_kwh: Amount | None = None
    provisional: bool = False
    source: Text


class Certificate(Section):
    """Guarantees of origin for a stretch of time; they count once they are ``retired``."""

    name: Name
    energy_source: Name
    kind: Literal["guarantee_of_origin", "ppa", "on_site"] = "guarantee_of_origin"
    mwh: Annotated[float, Field(gt=0)]
    begins: date
    ends: date
    retired: date | None = None

    @model_validator(mode="after")
    def _dates(self) -> "Certificate":
        if self.ends <= self.begins:
            raise ValueError(f"an ends after begins, {self.begins}")
        return self


class FuelUse(Section):
    """Fuel that a generator burned, by hand: from a day until another."""

    generator: Name
    begins: date
    ends: date
    litres: Amount
    kg_per_litre: Amount
    source: Text

    @model_validator(mode="after")
    def _dates(self) -> "FuelUse":
        if self.ends <= self.begins:
            raise ValueError(f"an ends after begins, {self.begins}")
        return self


class RefrigerantLoss(Section):
    """Refrigerant that was refilled, and so was lost; ``gwp`` is kg of CO2e for each kg."""

    cooling_unit: Name
    noticed_on: date
    refrigerant: Text
    kg: Amount
    gwp: Amount
    source: Text


class CarbonPrice(Dated):
    """What a tonne of CO2e costs; a ``shadow`` price never enters a statement."""

    kind: Literal["invoiced", "shadow"]
    scope: Literal[1, 2] = 1
    per_tonne: Money
    currency: Currency | None = None
