"""The site model: what is installed, who holds it, what meters it and what it costs.

``load`` reads it from one TOML file, ``site.sample.toml`` being the only text about it; ``index``
compiles it into the look-ups that intake and rollup use.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, model_validator

from meterhouse_agent import wire
from meterhouse_collector.settings import DurationSeconds, Section

MAX_DEVICES: Final = wire.MAX_DEVICES


def _time_zone(text: object) -> object:
    try:
        ZoneInfo(str(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('a name of the IANA time zone database like "Europe/Berlin"') from None
    return text


Name = Annotated[str, Field(pattern=wire.NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=128)]
Money = Annotated[Decimal, Field(ge=0)]
Duration = Annotated[DurationSeconds, Field(gt=0)]


class Pool(Section):
    """Devices that serve one purpose; ``tenant`` is ``none`` where nobody rents it."""

    name: Name
    cluster: Name
    tenant: Name = "none"


class Hardware(Section):
    """What one accelerator model costs: straight line from in service to the end of its life."""

    accelerator_model: Text
    vendor: Name
    price_per_device: Money
    salvage_per_device: Money = Decimal(0)
    life: Duration
    depreciation: Literal["straight_line"] = "straight_line"

    @model_validator(mode="after")
    def _salvage_below_price(self) -> "Hardware":
        if self.salvage_per_device > self.price_per_device:
            raise ValueError(f"salvage_per_device at most the price, {self.price_per_device}")
        return self


class Asset(Section):
    """An entry of the asset register: the same devices on one node, or on each of several."""

    node: Name | None = None
    nodes: tuple[Name, ...] = ()
    pool: Name
    accelerator_model: Text
    devices: Annotated[int, Field(ge=1, le=MAX_DEVICES)] | tuple[Text, ...]
    in_service: date
    retired: date | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Asset":
        if (self.node is None) == (not self.nodes):
            raise ValueError("either node or nodes")
        if isinstance(self.devices, tuple) and not 1 <= len(self.devices) <= MAX_DEVICES:
            raise ValueError(f"1 to {MAX_DEVICES} names in devices")
        if self.retired is not None and self.retired <= self.in_service:
            raise ValueError(f"a retired date after in_service, {self.in_service}")
        return self

    @property
    def on_nodes(self) -> tuple[str, ...]:
        """The nodes that hold these devices."""
        return self.nodes if self.node is None else (self.node,)


class Engine(Section):
    """An inference engine: what it serves, and on which devices ("node/device" or "node/*")."""

    name: Name
    served_model: Text | None = None
    served_models: dict[Text, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    devices: Annotated[tuple[Text, ...], Field(min_length=1)]
    readers: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _served(self) -> "Engine":
        if (self.served_model is None) == (not self.served_models):
            raise ValueError("either served_model or served_models")
        if self.served_models and abs(sum(self.served_models.values()) - 1) > 1e-9:  # noqa: PLR2004 - rounding
            raise ValueError("weights in served_models that sum to 1")
        if any(not all(device.partition("/")) for device in self.devices):
            raise ValueError('devices as "node/device" or "node/*"')
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The share of the engine that each served model has."""
        return self.served_models if self.served_model is None else {self.served_model: 1.0}


class Meter(Section):
    """A meter: of the site's boundary, with a sign, or of IT equipment, with a PUE category."""

    name: Name
    role: Literal["boundary", "it"]
    sign: Literal[1, -1] = 1
    category: Literal[1, 2, 3] | None = None
    readers: tuple[Name, ...] = ()
    peak_watts: Annotated[float, Field(gt=0)] | None = None
    step: Duration | None = None

    @model_validator(mode="after")
    def _role(self) -> "Meter":
        if (self.role == "it") != (self.category is not None):
            raise ValueError('a category of 1, 2 or 3 with role = "it", and only there')
        if self.role == "it" and self.sign != 1:
            raise ValueError('a sign with role = "boundary" only')
        return self


class Tariff(Section):
    """A flat price of energy from one date until another, or until the next tariff begins."""

    per_kwh: Money
    valid_from: date
    valid_to: date | None = None


class SiteModel(Section):
    """All that is known of a site without measuring it."""

    name: Name
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    time_zone: Annotated[str, BeforeValidator(_time_zone)]
    pool: tuple[Pool, ...] = ()
    hardware: tuple[Hardware, ...] = ()
    asset: tuple[Asset, ...] = ()
    engine: tuple[Engine, ...] = ()
    meter: tuple[Meter, ...] = ()
    tariff: tuple[Tariff, ...] = ()

    def instant(self, day: date) -> float:
        """Return the Unix time at which a day begins in the site's time zone."""
        zone = ZoneInfo(self.time_zone)
        return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
