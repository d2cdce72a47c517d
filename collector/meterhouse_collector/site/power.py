"""The power tree, cooling and water: meters, what carries power and heat, and the grid connection.

Every limit is that of its own node of the power path; ``watts_at_n`` is what is left of it after
the failure that its redundancy is for (``definitions.md``, headroom).
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from meterhouse_collector.kpi.redundancy import real_power_watts
from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Amount,
    Count,
    Currency,
    Dated,
    Duration,
    Lasting,
    Money,
    Name,
    Promise,
    Ratio,
    Share,
    Text,
    Watts,
    revised,
)

MeterRole = Literal[
    "boundary",
    "generator",
    "storage",
    "purchased_cooling",
    "it",
    "ups_in",
    "ups_out",
    "pdu",
    "rack",
    "node",
    "cooling",
    "water",
    "heat_reuse",
]
FACILITY_ROLES: Final = ("boundary", "generator", "storage", "purchased_cooling")
IT_ROLES: Final = ("it", "ups_out", "pdu", "rack", "node")


class Meter(Lasting):
    """A meter: its place in the power tree, and what it counts for.

    Those of the boundary, of generators and of storage have a sign and make the facility energy.
    Those with a ``category`` make the IT energy: of several behind each other, the most upstream.
    ``share`` is the part of it that is this site's, or a part for each cluster.
    """

    name: Name
    role: MeterRole
    sign: Literal[1, -1] = 1
    category: Literal[1, 2, 3] | None = None
    parent: Name | None = None
    share: Share | dict[Name, Share] = 1.0
    factor: Annotated[float, Field(gt=0)] | None = None
    readers: tuple[Name, ...] = ()
    peak_watts: Watts | None = None
    step: Duration | None = None

    @model_validator(mode="after")
    def _role(self) -> "Meter":
        if self.category is not None and self.role not in IT_ROLES:
            raise ValueError(f"a category with one of the roles {', '.join(IT_ROLES)} only")
        if self.role == "it" and self.category is None:
            raise ValueError('a category of 1, 2 or 3 with role = "it"')
        if self.role not in FACILITY_ROLES and self.sign != 1:
            raise ValueError(f"a sign with one of the roles {', '.join(FACILITY_ROLES)} only")
        if (self.role == "purchased_cooling") != (self.factor is not None):
            raise ValueError('a factor with role = "purchased_cooling", and only there')
        if isinstance(self.share, dict) and not 0 < sum(self.share.values()) <= 1 + 1e-9:
            raise ValueError("shares that sum to 1 at most")
        return self

    @property
    def part(self) -> float:
        """The part of what it measures that is this site's."""
        return sum(self.share.values()) if isinstance(self.share, dict) else self.share


def _check_ratings(
    watts: float | None, volt_amperes: float | None, power_factor: float | None, what: str
) -> None:
    if watts is None and volt_amperes is None:
        raise ValueError(f"{what}_watts, {what}_volt_amperes, or both")
    if (volt_amperes is None) != (power_factor is None):
        raise ValueError(f"a power_factor_ratio with {what}_volt_amperes, and only there")


def _binding_watts(
    watts: float | None, volt_amperes: float | None, power_factor: float | None
) -> float:
    """Return the lower of two limits in watts, of which one may be missing: both bind."""
    limits = [] if watts is None else [watts]
    if volt_amperes is not None and power_factor is not None:
        limits.append(
            real_power_watts(apparent_volt_amperes=volt_amperes, power_factor_ratio=power_factor)
        )
    return min(limits)


class PowerNode(Lasting):
    """A piece of the power path: ``units`` of one rating, ``spare_units`` of them for failures.

    It is rated in watts, in volt-amperes at a ``power_factor_ratio`` of its load, or in both.

    With ``pair`` it is one side of two that must each carry the load of both. ``margin_ratio`` is
    kept free: 0.2 for a breaker under continuous load. ``load`` says which power counts against it.
    """

    name: Name
    kind: Literal["transformer", "switchboard", "ups", "pdu", "busway", "rack"]
    parent: Name | None = None
    units: Count = 1
    spare_units: Annotated[int, Field(ge=0)] = 0
    unit_watts: Watts | None = None
    unit_volt_amperes: Watts | None = None
    power_factor_ratio: Share | None = None
    margin_ratio: Ratio = 0.0
    pair: Name | None = None
    load: Literal["maximum", "mean"] = "maximum"
    meters: tuple[Name, ...] = ()
    clusters: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _spare(self) -> "PowerNode":
        if self.spare_units >= self.units:
            raise ValueError(f"fewer spare_units than units, {self.units}")
        _check_ratings(self.unit_watts, self.unit_volt_amperes, self.power_factor_ratio, "unit")
        return self

    @property
    def watts_at_n(self) -> float:
        """What it may carry with the spare units gone, less its margin."""
        each = _binding_watts(self.unit_watts, self.unit_volt_amperes, self.power_factor_ratio)
        return (self.units - self.spare_units) * each * (1 - self.margin_ratio)


class Generator(Lasting):
    """An on-site generator; its output or its fuel counts as facility energy, never both."""

    name: Name
    rated_watts: Watts
    fuel: Text = "diesel"
    kwh_per_litre: Amount | None = None
    counted: Literal["output", "fuel"] = "output"
    meters: tuple[Name, ...] = ()
    permit_hours_per_year: Amount | None = None

    @model_validator(mode="after")
    def _fuel(self) -> "Generator":
        if self.counted == "fuel" and self.kwh_per_litre is None:
            raise ValueError('kwh_per_litre with counted = "fuel"')
        return self


class Storage(Lasting):
    """A battery; without ``meters`` it may discharge unmetered, and a PUE below 1 is no alarm."""

    name: Name
    rated_watts: Watts
    capacity_kwh: Annotated[float, Field(gt=0)]
    meters: tuple[Name, ...] = ()


class CoolingUnit(Lasting):
    """Units that remove heat, rated at the outdoor temperature of the design day."""

    name: Name
    kind: Literal["chiller", "dry_cooler", "tower", "crah", "cdu", "pump"]
    clusters: tuple[Name, ...] = ()
    units: Count = 1
    spare_units: Annotated[int, Field(ge=0)] = 0
    unit_heat_watts: Watts
    margin_ratio: Ratio = 0.0

    @model_validator(mode="after")
    def _spare(self) -> "CoolingUnit":
        if self.spare_units >= self.units:
            raise ValueError(f"fewer spare_units than units, {self.units}")
        return self

    @property
    def heat_watts_at_n(self) -> float:
        """The heat it removes with the spare units gone, less its margin."""
        return (self.units - self.spare_units) * self.unit_heat_watts * (1 - self.margin_ratio)


class WaterSupply(Dated):
    """Water that comes in: metered, by category of ISO/IEC 30134-9, with a price if invoiced."""

    name: Name
    category: Literal[1, 2, 3] = 1
    meters: tuple[Name, ...] = ()
    per_cubic_metre: Money | None = None
    currency: Currency | None = None


Promised = Annotated[tuple[Promise, ...], AfterValidator(revised)]


class Increment(Section):
    """More power of a grid connection: promised, by revision, and then delivered."""

    name: Name
    watts: Watts
    promised: Annotated[Promised, Field(min_length=1)]
    delivered: date | None = None

    @property
    def due(self) -> date:
        """The day it came, or the one promised last."""
        return self.promised[-1].due if self.delivered is None else self.delivered


class GridConnection(Lasting):
    """What the grid operator contracted, as the mean power of the demand interval.

    It is in watts, in volt-amperes at a ``power_factor_ratio`` of the load, or in both.
    ``marginal_pue`` is how much the site draws here for each further watt of IT.
    """

    name: Name
    contracted_watts: Watts | None = None
    contracted_volt_amperes: Watts | None = None
    power_factor_ratio: Share | None = None
    demand_interval: Duration = Field("15m", validate_default=True)
    margin_ratio: Ratio = 0.0
    marginal_pue: Annotated[float, Field(ge=1)] | None = None
    meters: tuple[Name, ...] = ()
    increment: tuple[Increment, ...] = ()

    @model_validator(mode="after")
    def _rated(self) -> "GridConnection":
        _check_ratings(
            self.contracted_watts,
            self.contracted_volt_amperes,
            self.power_factor_ratio,
            "contracted",
        )
        return self

    @property
    def limit_watts(self) -> float:
        """What it may draw: the lower of both where it is contracted in watts and volt-amperes."""
        return _binding_watts(
            self.contracted_watts, self.contracted_volt_amperes, self.power_factor_ratio
        )
