"""What energy costs by contract: tariffs, other supplies, colocation, exchange rates.

Prices are in money of the contract's currency per kWh, kW, litre or month, as contracts state them.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Dated
from meterhouse_collector.site.components import Component, Energy, Levy, Money, Name

Text = Annotated[str, Field(min_length=1, max_length=128)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Tariff(Section):
    """The components of a price of energy from one date until another, or until the next begins.

    ``per_kwh`` is the short form of a tariff with one ``energy`` component.
    """

    name: Name = "grid"
    valid_from: date
    valid_to: date | None = None
    currency: Currency | None = None
    per_kwh: Money | None = None
    component: tuple[Component, ...] = ()

    @model_validator(mode="after")
    def _components(self) -> "Tariff":
        if (self.per_kwh is None) == (not self.component):
            raise ValueError("either per_kwh or component")
        kinds: dict[str, str] = {}
        for component in self.component:
            if isinstance(component, Levy) and not set(component.of) <= {*kinds, *kinds.values()}:
                raise ValueError(f"names or kinds of components before {component.name} in its of")
            if kinds.get(component.name, component.kind) != component.kind or (
                component.name in kinds and component.kind != "time_of_use"
            ):
                raise ValueError(f"each name once, and {component.name} is there twice")
            kinds[component.name] = component.kind
        return self

    @property
    def components(self) -> tuple[Component, ...]:
        """The components, those of the short form included."""
        return self.component if self.per_kwh is None else (Energy(per_kwh=self.per_kwh),)


class Supply(Section):
    """The price of a source other than the grid tariff: a PPA, on-site generation or fuel.

    ``source`` is the name of the source, or of the generator that burns the fuel.
    """

    source: Name
    kind: Literal["ppa", "on_site", "fuel"]
    per_kwh: Decimal | None = None
    per_litre: Money | None = None
    valid_from: date
    valid_to: date | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _unit(self) -> "Supply":
        given = (self.per_kwh is not None, self.per_litre is not None)
        if given != ((False, True) if self.kind == "fuel" else (True, False)):
            raise ValueError('per_litre with kind = "fuel", per_kwh with any other')
        return self


class Colocation(Dated):
    """A contract for space with power: committed kW, and energy passed through.

    Energy passes through at ``per_kwh``, or else at the tariff named ``tariff``. With ``pue_cap``
    no more facility energy is passed on than the IT energy times the cap. ``landlord_pue`` is what
    the landlord states: the PUE of a site without a boundary meter, as an estimate.
    """

    name: Name
    committed_kw: Annotated[Decimal, Field(gt=0)]
    per_kw: Money
    per_kwh: Money | None = None
    tariff: Name | None = None
    pue_cap: Annotated[Decimal, Field(ge=1)] | None = None
    landlord_pue: Annotated[float, Field(ge=1)] | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _energy(self) -> "Colocation":
        if (self.per_kwh is None) == (self.tariff is None):
            raise ValueError("either per_kwh or tariff")
        return self


class ExchangeRate(Section):
    """What one unit of a currency is in another from a date until the next rate of the pair."""

    from_currency: Currency
    to_currency: Currency
    rate: Annotated[Decimal, Field(gt=0)]
    valid_from: date
    source: Text

    @model_validator(mode="after")
    def _two(self) -> "ExchangeRate":
        if self.from_currency == self.to_currency:
            raise ValueError("two different currencies")
        return self
